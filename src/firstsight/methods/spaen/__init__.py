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
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn

from firstsight.devices import torch_device
from firstsight.errors import InputError
from firstsight.methods.base import ProductMethod
from firstsight.methods.fitting import FitControls, Search, TrainingTensors, check_counts
from firstsight.methods.loop import seeded
from firstsight.methods.scaling import ClassScaling, FeatureScaling, scale_features
from firstsight.methods.spaen.losses import CriticOutput
from firstsight.methods.spaen.networks import SLOPE, Output, discriminator, perceptron
from firstsight.methods.spaen.presets import BY_SOURCE, with_cls_only
from firstsight.methods.spaen.steps import FeatureSteps, embedded, loop_of


@dataclass(kw_only=True)
class SPAEN(ProductMethod):
    """Semantics-preserving adversarial embedding network.

    Attributes:
        alpha: weight of the reconstruction loss; 0 leaves it out.
        beta: weight of the adversarial loss; 0 leaves it out; both 0 is the paper's `Cls. only`.
        classification_weight: weight of the classification loss; alpha and beta are beside it.
        classification: margin ranking (Eq. 2) or cross-entropy over the seen classes.
        compatibility: dot product with E(x) as it is (Eq. 1), or with E(x) at unit length.
        margin: margin of the ranking loss.
        negatives: draw the ranking's wrong class among all (paper) or among those that violate the margin.
        temperature: factor of the compatibilities before the softmax.
        scaling: scaling of the features for E, and for F and G where they work on the same.
        class_scaling: scaling of the class embeddings.
        reconstruction_scaling: scaling of the features for F and G where they work on others.
        reconstruction: squared error of G(F(x)), a sum over features or their mean.
        hidden: units of the hidden layer of E, F and G.
        slope: of the leaky ReLU below 0, in all networks.
        output: activation of E's last layer.
        encoder_output: activation of F's last layer.
        generator_output: activation of the last layer of G, or of its part before the published generator.
        dropout: share of the inputs of both layers of E that dropout sets to 0.
        norm_weight: weight of (||F(x)|| - 1)^2, as class embeddings have length 1; beside alpha, not inside it.
        schedule: F and G first, then E against the frozen F; or all at once (Eq. 6).
        epochs: passes of E over the training images; fractions too, one step at least.
        autoencoder_epochs: passes of F and G over the training images, in `two-stage`.
        batch: images per step.
        optimiser: Adam, or RMSProp as WGAN says for clipping.
        learning_rate: learning rate of the optimiser.
        decay: decay of the learning rate: none, x0.1 where the loss no longer falls, half a cosine to 0, or x0.1 in
            the second half.
        patience: hundreds of steps without 1 % less loss before `plateau` cuts the rate.
        weight_decay: weight decay; see `weight_decay_form`.
        weight_decay_form: decoupled, of all networks; or half the squared weights of E, F and G in the loss.
        clip_each: clip the gradient of each tensor to length 10, not that of all tensors together.
        critic_output: D's output as it is (Wasserstein form), through a sigmoid (authors' code), or the logarithms of
            Eq. 4.
        critic_weight: weight of the critic's own loss.
        lipschitz: how the critic is kept Lipschitz: gradient penalty or weight clipping.
        penalty: weight of the gradient penalty.
        clip: bound of the critic's weights under clipping.
        critic_steps: steps of the critic per step of E.
        critic_order: whether the critic's steps come before or after E's.
        critic_rows: images whose F(x) and E(x') the critic compares: independent draws (Eq. 4), or the same.
    """

    name = "spaen"
    title = "SP-AEN"
    source = "Chen et al., CVPR 2018"
    presets = with_cls_only(BY_SOURCE)

    search = Search(
        {"alpha": (0.1, 1.0, 10.0, 100.0), "beta": (0.005, 0.05, 0.1, 1.0, 10.0)},
        trials=3,  # of 20: one takes minutes; --trials 20 is the whole grid, as in the paper
    )

    alpha: float = 10.0
    beta: float = 0.1
    classification_weight: float = 1.0
    classification: Literal["ranking", "softmax"] = "softmax"
    compatibility: Literal["dot", "cosine"] = "cosine"
    margin: float = 0.2
    negatives: Literal["random", "violating"] = "random"
    temperature: float = 20.0
    scaling: FeatureScaling = "standard-l2"
    class_scaling: ClassScaling = "centred"
    reconstruction_scaling: FeatureScaling = "standard-l2"
    reconstruction: Literal["sum", "mean"] = "sum"
    hidden: int = 1024
    slope: float = SLOPE
    output: Output = "linear"
    encoder_output: Output = "linear"
    generator_output: Output = "linear"
    dropout: float = 0.5
    norm_weight: float = 20.0
    schedule: Literal["two-stage", "joint"] = "joint"
    epochs: float = 27.0
    autoencoder_epochs: float = 18.0
    batch: int = 128
    optimiser: Literal["adam", "rmsprop"] = "adam"
    learning_rate: float = 2e-3
    decay: Literal["constant", "plateau", "cosine", "half"] = "cosine"
    patience: int = 5
    weight_decay: float = 0.0
    weight_decay_form: Literal["decoupled", "loss"] = "decoupled"
    clip_each: bool = False
    critic_output: CriticOutput = "linear"
    critic_weight: float = 1.0
    lipschitz: Literal["penalty", "clip"] = "penalty"
    penalty: float = 10.0
    clip: float = 0.01
    critic_steps: int = 1
    critic_order: Literal["before", "after"] = "before"
    critic_rows: Literal["independent", "shared"] = "independent"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, "batch", "hidden", "critic_steps", "patience")
        if self.dropout >= 1:
            raise InputError(f"dropout must be below 1; got {self.dropout}")
        if self.optimiser == "rmsprop" and self.weight_decay and self.weight_decay_form == "decoupled":
            raise InputError("weight_decay_form must be loss for rmsprop; got decoupled")

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
            data: list[Any] = [features, targets, training.labels, training.vectors]
            crops = () if training.crops is None else training.crops.pieces()
            loop_of(self, self.networks_, steps.stages, steps.optimisers, chain(data, crops)).run(controls)

    def _networks(self, n_features: int, n_targets: int, n_embedding: int) -> nn.ModuleDict:
        def of(n_in: int, n_out: int, output: Output, dropout: float = 0.0) -> nn.Module:
            return perceptron(n_in, self.hidden, n_out, output, dropout, self.slope)

        networks = {"embedder": of(n_features, n_embedding, self.output, self.dropout)}
        if self.alpha or self.beta:
            networks["encoder"] = of(n_targets, n_embedding, self.encoder_output)
            networks["generator"] = of(n_embedding, n_targets, self.generator_output)
        if self.beta:
            networks["discriminator"] = discriminator(n_embedding, self.slope)
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
