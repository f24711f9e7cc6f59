"""The three rivals of Table 3: whom each phase teaches, and from what."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from firstsight.methods.spaen_pictures.steps import Material
from tests.support.tiny import flat_parameters
from tests.support.trainings import (
    copied,
    gradient,
    picture_material,
    picture_steps,
    shown_to,
    unclipped,
    with_plain_descent,
)
from tests.support.trainings import spaen_pictures as make


@pytest.mark.parametrize("variant", ["sae-image", "split-branch"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_gradients_through_a_bottleneck(variant, accumulate, monkeypatch):
    """Of E: L_cls of what classifies, the first half in split-branch, and alpha L_rec of the whole code."""
    unclipped(monkeypatch)
    method = make(variant=variant, accumulate=accumulate, alpha=2.0, temperature=3.0)
    material = picture_material(method)
    made, phi, images = with_plain_descent(method.way.steps(material)), material.phi, material.images
    taken, before, networks = shown_to(made, monkeypatch), copied(material.networks), deepcopy(material.networks)
    made.stages[0].step()
    x, rows = (torch.cat(parts) for parts in zip(*taken, strict=True))
    code = networks["embedder"](images.features[rows])
    assert code.shape == (6, 8 if variant == "split-branch" else 4)
    first = nn.functional.normalize(code[:, :4])
    drawn = networks["generator"](torch.cat([first, code[:, 4:]], dim=1))
    rebuilt = (drawn - x).square().mean() + (phi(drawn) - phi(x)).square().mean()
    loss = nn.functional.cross_entropy(3.0 * first @ images.vectors.T, images.labels[rows]) + 2.0 * rebuilt
    for name in ("embedder", "generator"):
        step = before[name] - flat_parameters(material.networks[name])
        torch.testing.assert_close(step, gradient(loss, networks[name]), rtol=1e-3, atol=1e-4)


def test_a_direct_map_draws_from_what_prediction_uses(monkeypatch):
    """G learns from E(x) without dropout, in pieces too."""
    made = picture_steps(make(variant="direct-map", dropout=0.5, accumulate=2))
    taken, codes, draw = shown_to(made, monkeypatch), [], Material.drawing_loss
    monkeypatch.setattr(Material, "drawing_loss", lambda *given: (codes.append(given[2]), draw(*given))[1])
    made.embedder.network.train()
    made.stages[1].step()
    made.embedder.network.eval()
    assert len(codes) == 2
    for (_, rows), code in zip(taken, codes, strict=True):
        torch.testing.assert_close(code, made.embedder.embed(rows).detach())
