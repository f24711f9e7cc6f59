"""SP-AEN on features, 100 steps of E, against bare forward and backward passes of E on one fixed batch."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from firstsight.data import ClassEmbeddings, TrainingSet
from firstsight.methods import SPAEN
from firstsight.methods.spaen.networks import perceptron
from speed import Case

STEPS = 100


def cases() -> Iterator[Case]:
    rng = np.random.default_rng(0)
    for v in (1000, 2048):
        features = rng.standard_normal((7057, v), dtype=np.float32)
        classes = ClassEmbeddings(tuple(map(str, range(150))), rng.standard_normal((150, 312)))
        training = TrainingSet(features, rng.integers(0, 150, 7057), classes, features, (v,))
        method = SPAEN(alpha=0, beta=0, epochs=STEPS * 128 / len(features), batch=128)
        yield Case(f"CUB size, {v} features (1x = no overhead)", partial(method.fit, training), partial(bare, v))


def bare(v: int) -> None:
    network, batch = perceptron(v, 1024, 312, "linear", 0.5), torch.randn(128, v)
    optimiser = torch.optim.AdamW(network.parameters(), fused=True)
    for _ in range(STEPS):
        optimiser.zero_grad()
        network(batch).square().mean().backward()
        optimiser.step()
