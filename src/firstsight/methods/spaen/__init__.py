"""SP-AEN (Chen et al., CVPR 2018) on features: semantics-preserving adversarial embedding network.

An embedder trained to tell seen classes apart throws away attributes that do not separate them, and those may be
what separates unseen ones (semantic loss). Reconstruction would keep them, but one embedding cannot serve both. So
the encoder F and the generator G reconstruct x by an embedding of their own, F(x), and a critic D pulls the
distribution of the classifying embedding E(x) onto that of F(x):

    x --E--> E(x) --> class, by y.E(x)        L_cls
              ^ D
    x --F--> F(x) --G--> x                    alpha L_rec, beta L_adv
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from firstsight.devices import torch_device
from firstsight.errors import InputError
from firstsight.methods.base import ProductMethod
from firstsight.methods.fitting import FitControls, Search, TrainingTensors, check_counts
from firstsight.methods.loop import seeded
from firstsight.methods.scaling import ClassScaling, FeatureScaling, scale_features
from firstsight.methods.spaen.networks import discriminator, perceptron
from firstsight.methods.spaen.steps import FeatureSteps, embedded, loop_of

CLS_ONLY = {"alpha": 0.0, "beta": 0.0}
PAPER = {
    "alpha": 10.0,  # Table 2
    "beta": 5.0,  # Table 2
    "classification": "ranking",
    "negatives": "random",
    "compatibility": "dot",
    "scaling": "l2",
    "class_scaling": "l2",
    "reconstruction_scaling": "l2",
    "output": "leaky",  # authors' code, like all that follows where the paper is silent
    "schedule": "joint",
    "learning_rate": 1e-3,  # 1e-4 in the paper, over far more steps
    "decay": "plateau",
    "weight_decay": 5e-6,
    "lipschitz": "clip",
    "critic_steps": 5,
    "epochs": 36.0,  # 1,985 steps on CUB; authors: 200,000 for each of two stages
}
AUTHORS = PAPER | {"negatives": "violating", "schedule": "two-stage", "lipschitz": "penalty", "beta": 0.05}


@dataclass(kw_only=True)
class SPAEN(ProductMethod):
    """Semantics-preserving adversarial embedding network.

    Attributes:
        alpha: weight of the reconstruction loss; 0 leaves it out.
        beta: weight of the adversarial loss; 0 leaves it out; both 0 is the paper's `Cls. only`.
        classification: margin ranking (Eq. 2) or cross-entropy over the seen classes.
        compatibility: dot product with E(x) as it is (Eq. 1), or with E(x) at unit length.
        margin: margin of the ranking loss.
        negatives: draw the ranking's wrong class among all (paper) or among those that violate the margin.
        temperature: factor of the compatibilities before the softmax.
        scaling: scaling of the features for E, and for F and G where they work on the same.
        class_scaling: scaling of the class embeddings.
        reconstruction_scaling: scaling of the features for F and G where they work on others.
        hidden: units of the hidden layer of E, F and G.
        output: activation of E's last layer.
        dropout: share of the inputs of both layers of E that dropout sets to 0.
        norm_weight: weight of (||F(x)|| - 1)^2, as class embeddings have length 1.
        schedule: F and G first, then E against the frozen F; or all at once (Eq. 6).
        epochs: passes of E over the training images; fractions too, one step at least.
        autoencoder_epochs: passes of F and G over the training images, in `two-stage`.
        batch: images per step.
        learning_rate: learning rate of Adam.
        decay: decay of the learning rate: none, x0.1 where the loss no longer falls, or half a cosine to 0.
        patience: hundreds of steps without 1 % less loss before `plateau` cuts the rate.
        weight_decay: decoupled weight decay of all networks.
        lipschitz: how the critic is kept Lipschitz: gradient penalty or weight clipping.
        penalty: weight of the gradient penalty.
        clip: bound of the critic's weights under clipping.
        critic_steps: steps of the critic per step of E.
    """

    name = "spaen"
    title = "SP-AEN"
    source = "Chen et al., CVPR 2018"
    presets = {
        "cls-only": CLS_ONLY,
        "paper": PAPER,
        "paper-cls-only": PAPER | CLS_ONLY,
        "authors": AUTHORS,
        "authors-cls-only": AUTHORS | CLS_ONLY,
    }

    search = Search(
        {"alpha": (0.1, 1.0, 10.0, 100.0), "beta": (0.01, 0.1, 1.0, 10.0)},
        trials=3,  # of 16: one takes minutes; --trials 16 is the whole grid, as in the paper
    )

    alpha: float = 10.0
    beta: float = 0.1
    classification: Literal["ranking", "softmax"] = "softmax"
    compatibility: Literal["dot", "cosine"] = "cosine"
    margin: float = 0.2
    negatives: Literal["random", "violating"] = "random"
    temperature: float = 20.0
    scaling: FeatureScaling = "standard-l2"
    class_scaling: ClassScaling = "centred"
    reconstruction_scaling: FeatureScaling = "standard-l2"
    hidden: int = 1024
    output: Literal["linear", "leaky"] = "linear"
    dropout: float = 0.5
    norm_weight: float = 2.0
    schedule: Literal["two-stage", "joint"] = "joint"
    epochs: float = 27.0
    autoencoder_epochs: float = 18.0
    batch: int = 128
    learning_rate: float = 2e-3
    decay: Literal["constant", "plateau", "cosine"] = "cosine"
    patience: int = 5
    weight_decay: float = 0.0
    lipschitz: Literal["penalty", "clip"] = "penalty"
    penalty: float = 10.0
    clip: float = 0.01
    critic_steps: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, "batch", "hidden", "critic_steps", "patience")
        if self.dropout >= 1:
            raise InputError(f"dropout must be below 1; got {self.dropout}")

    def _fit(self, training: TrainingTensors, controls: FitControls) -> None:
        controls.ranks.check_shared(batch=self.batch)
        features, targets = training.features, training.targets
        if targets is not features:  # `features` come scaled
            deviation, mean = torch.std_mean(targets, dim=0, correction=0)
            kind, widths = self.reconstruction_scaling, training.target_widths
            targets = scale_features(kind, targets.clone(), widths, mean, deviation)
        training = replace(training, targets=targets)
        with seeded(self.seed, features.device):
            self.networks_ = self._networks(features.shape[1], targets.shape[1], training.vectors.shape[1])
            self.networks_.to(features.device)
            steps = FeatureSteps(self, self.networks_, training, controls.ranks)
            data = [features, targets, training.labels, training.vectors]
            loop_of(self, self.networks_, steps.stages, steps.optimisers, data).run(controls)

    def _networks(self, n_features: int, n_targets: int, n_embedding: int) -> nn.ModuleDict:
        networks = {"embedder": perceptron(n_features, self.hidden, n_embedding, self.output, self.dropout)}
        if self.alpha or self.beta:
            networks["encoder"] = perceptron(n_targets, self.hidden, n_embedding, "linear", 0.0)
            networks["generator"] = perceptron(n_embedding, self.hidden, n_targets, "linear", 0.0)
        if self.beta:
            networks["discriminator"] = discriminator(n_embedding)
        return nn.ModuleDict(networks)

    def _project(self, features: Tensor) -> Tensor:
        return embedded(self, self.networks_["embedder"], features)  # [n, a]

    def state(self) -> dict[str, Tensor]:
        """Return every tensor learned, by name; those of the networks too."""
        return super().state() | {f"{NETWORKS}{name}": value for name, value in self.networks_.state_dict().items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state` returned."""
        own = {name: value for name, value in state.items() if not name.startswith(NETWORKS)}
        super().restore(own)
        weights = {name.removeprefix(NETWORKS): value for name, value in state.items() if name not in own}
        with torch.device("meta"):  # sizes only: no random numbers, no memory for whatever `hidden` a file claims
            n_targets = len(weights.get("generator.4.bias", (0,)))  # those of G on pictures are known without
            self.networks_ = self._networks(len(self.feature_mean_), n_targets, len(self.class_mean_))
        self.networks_.load_state_dict(weights, assign=True)
        self.networks_.to(torch_device(self.device)).eval()


NETWORKS = "networks_."
