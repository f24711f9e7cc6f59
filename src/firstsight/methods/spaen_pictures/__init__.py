"""SP-AEN (Chen et al., CVPR 2018) on pictures, as in the paper: F reads the picture, G draws it again.

    features --E--> E(x) --> class, by y.E(x)      L_cls (Eq. 2)
                     ^ D                           beta L_adv (Eq. 4)
    picture  --F--> F(x) --G--> picture            alpha L_rec (Eq. 3)

E works on features of the pictures, as the paper trained it. After training G draws: a picture that F has read, or a
class nobody has a picture of, from its class embedding alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from firstsight.data import ClassEmbeddings, Dataset, Floats, Pictures, TrainingSet
from firstsight.devices import torch_device
from firstsight.errors import InputError
from firstsight.features.backbone import Backbone, Preparation
from firstsight.methods.fitting import FitControls, TrainingTensors
from firstsight.methods.loop import seeded
from firstsight.methods.spaen import NETWORKS, SPAEN
from firstsight.methods.spaen.networks import Output, discriminator, perceptron
from firstsight.methods.spaen.presets import BY_SOURCE, with_cls_only
from firstsight.methods.spaen.steps import loop_of
from firstsight.methods.spaen_pictures.crops import middle, whole
from firstsight.methods.spaen_pictures.networks import (
    FULL,
    SIDES,
    Merge,
    Shrinking,
    backbone,
    encoder,
    feature_width,
    generator,
    view_of,
)
from firstsight.methods.spaen_pictures.pretrained import phi_of, start_from_published
from firstsight.methods.spaen_pictures.steps import Material, as_bytes, autocast, draw, enough_memory
from firstsight.methods.spaen_pictures.table3 import WAYS, Way
from firstsight.pictures.decode import stored_side

Variant = Literal["spaen", "direct-map", "sae-image", "split-branch"]
WIDEST = 16
DRAWN = 64  # pictures that are read or drawn at once
OF_EMBEDDER = {  # settings that F and G of `two-stage` do not depend on
    *("beta", "classification", "classification_weight", "compatibility", "margin", "negatives", "temperature"),
    *("epochs", "dropout", "output", "learning_rate", "lipschitz", "penalty", "clip", "critic_output"),
    *("critic_weight", "critic_steps", "critic_order", "critic_rows"),
}

PAPER = {"learning_rate": 1e-4, "autoencoder_rate": 1e-4, "autoencoder_batch": 128, "side": FULL}
PAPER |= {"epochs": 36.0, "autoencoder_epochs": 36.0}
AUTHORS = PAPER | {
    "epochs": 100.0,
    "alpha": 1.0,  # the weights of L_rec's two terms are whole
    "perceptual_weight": 3.0,  # a mean over the activations of CaffeNet, of pictures in 0..255; here of AlexNet
    "pixel_weight": 0.03 * 255**2,  # a mean over pixels, there in 0..255, here in 0..1
    "autoencoder_beta1": 0.5,
    "freeze_encoder": True,
}
ON_PICTURES = {"paper": PAPER, "authors": AUTHORS, "table2": AUTHORS, "figure7": AUTHORS}


@dataclass(kw_only=True)
class SPAENPictures(SPAEN):
    """Semantics-preserving adversarial embedding network that reads and draws pictures.

    Attributes:
        side: pixels of a side of the pictures that G draws: 32, 64, 128 or 256 (paper). F reads crops of this side, but
            of 224 at 256, to which G's picture is then cut.
        pretrained: start F's and phi's AlexNet from ImageNet weights (paper), or F from random ones and without phi.
        generator_file: the published generator's .caffemodel, for G at 256 pixels; from random weights where empty.
        width: factor of the number of channels of F and G, one at least; 1 is the paper's.
        perceptual_weight: weight of ||phi(G(F(x))) - phi(x)||^2, a mean over activations; 0 leaves phi out, which
            without ImageNet weights is out anyway.
        pixel_weight: weight of ||G(F(x)) - x||^2, a mean over pixels: lambda_p.
        autoencoder_batch: pictures per step.
        autoencoder_rate: learning rate of F and G.
        autoencoder_beta1: share of the last mean gradient that Adam keeps, for F, G and `end_to_end`; E's is 0.5.
        freeze_encoder: the ImageNet weights of F stay as they are, as in the authors' code; else they learn.
        freeze_generator: the weights of `generator_file` stay as they are, as in the authors' code; else they learn.
        backbone_rate: learning rate of `end_to_end`; from random weights 1e-3 is more like it.
        accumulate: pieces of a batch that go through the networks one after the other; memory shrinks, results stay.
        precision: bf16 computes F, G and phi in half the digits, which is faster where the device knows how.
        compile: let torch compile F, G and phi, which takes a minute or more; on two CPU cores it did not pay.
        end_to_end: train E with a network that makes its features, by name: `compact`, or one of torchvision such as
            `resnet101`; features of the data set are then not used. Where empty, E works on those.
        variant: row of the paper's Table 3: SP-AEN; G on a frozen E; one code for both; or a code in two halves.
    """

    name = "spaen-pictures"
    title = "SPAEN-PICTURES"
    search = replace(SPAEN.search, shares_fits=True)
    presets = with_cls_only({name: preset | ON_PICTURES[name] for name, preset in BY_SOURCE.items()})

    schedule: Literal["two-stage", "joint"] = "two-stage"
    generator_output: Output = "leaky"
    side: int = 64
    pretrained: Literal["imagenet", "none"] = "imagenet"
    generator_file: str = ""
    width: float = 1.0
    perceptual_weight: float = 1.0
    pixel_weight: float = 1.0
    autoencoder_batch: int = 32
    autoencoder_rate: float = 1e-3
    autoencoder_beta1: float = 0.9  # with .5, pixel error of held-out classes was .043 where it is .037
    freeze_encoder: bool = False
    freeze_generator: bool = True
    backbone_rate: float = 1e-4
    accumulate: int = 1
    precision: Literal["float32", "bf16"] = "float32"
    compile: bool = False
    end_to_end: str = ""
    variant: Variant = "spaen"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side not in SIDES:
            raise InputError(f"side must be one of {', '.join(map(str, SIDES))}; got {self.side}")
        if self.autoencoder_batch < 1 or not 1 <= self.accumulate <= self.autoencoder_batch:
            got = f"{self.accumulate} for {self.autoencoder_batch}"
            raise InputError(f"accumulate must be 1 to autoencoder_batch; got {got}")
        if self.autoencoder_beta1 >= 1:
            raise InputError(f"autoencoder_beta1 must be below 1; got {self.autoencoder_beta1}")
        if self.width > WIDEST:
            raise InputError(f"width must be {WIDEST} or less; got {self.width}")
        if self.pretrained == "imagenet" and self.width != 1:
            raise InputError(f"width must be 1 with ImageNet weights; got {self.width}; --pretrained none trains all")
        if self.generator_file and (self.side, self.width) != (FULL, 1):
            got = f"{self.side} and {self.width}"
            raise InputError(f"side must be {FULL} and width 1 for the published generator; got {got}")
        if not self.way.reads_pictures and not self.alpha:
            raise InputError(f"alpha must be above 0 for {self.variant}, which reconstructs; got 0")

    @property
    def shares_fits(self) -> bool:
        """Tell whether fits share work: F and G do not depend on what is tuned where they are trained first."""
        return self.schedule == "two-stage"

    @property
    def way(self) -> Way:
        """Return what distinguishes this variant."""
        return WAYS[self.variant]

    @property
    def view(self) -> int:
        """Return the pixels of a side of what F reads, and of the part of G's picture that is compared with it."""
        return view_of(self.side)

    def _prepared(self, training: TrainingSet) -> TrainingTensors:
        if self.makes_features():  # those of the data set have no say
            none = np.zeros((len(training), 1), dtype=np.float32)
            training = replace(training, features=none, reconstruction_features=none, feature_widths=(1,), crops=None)
        return super()._prepared(training)

    def _autoencoder(self) -> tuple[Any, ...] | None:
        """Return all settings on which F and G depend after the first stage; None where there is no such stage."""
        if not self.way.reads_pictures or self.schedule != "two-stage" or not (self.alpha or self.beta):
            return None
        return tuple(value for name, value in self.settings().items() if name not in OF_EMBEDDER)

    def _fit(self, training: TrainingTensors, controls: FitControls) -> None:
        """Learn; F and G of `two-stage` are trained once for all settings that agree on them."""
        if training.pictures is None:
            raise InputError("training set must have pictures for spaen-pictures; got features alone")
        height, width = training.pictures.store.shape[1:3]
        if height != width:
            raise InputError(f"pictures must be square; got {height} x {width}")
        if height < self.view:
            raise InputError(f"pictures must be {self.view} pixels a side or more; got {height}")
        controls.ranks.check_shared(batch=self.batch, autoencoder_batch=self.autoencoder_batch)
        device = training.features.device
        with seeded(self.seed, device):
            if self.end_to_end:  # features come of unit length then, and stay as they are
                v = feature_width(backbone(self.end_to_end, is_trained=False), self.view)
                self.feature_mean_, self.feature_widths_ = torch.zeros(v, device=device), torch.tensor([v])
                self.feature_deviation_ = torch.ones(v, device=device)
            self.networks_ = self._networks(len(self.feature_mean_), 0, training.vectors.shape[1])
            phi = phi_of(self, device)
            start_from_published(self, self.networks_, phi)
            self.networks_.to(device).to(memory_format=torch.channels_last)
            compiled = [self.networks_[part] for part in ("encoder", "generator") if part in self.networks_]
            for network in (*compiled, phi) if self.compile else ():
                if network is not None:
                    network.compile()
            material = Material(self, self.networks_, training, phi, controls.ranks)
            steps = self.way.steps(material)
            loop = loop_of(self, self.networks_, steps.stages, steps.optimisers, steps.pictures.data())
            key = self._autoencoder()
            first = self if key is None else training.once(key, lambda: self)
            if first is not self:
                for part in {"encoder", "generator"} & {*self.networks_}:
                    self.networks_[part].load_state_dict(first.networks_[part].state_dict())
                loop.skip_to("embedder")
            with enough_memory(material):
                loop.run(controls)

    def _networks(self, n_features: int, n_targets: int, n_embedding: int) -> nn.ModuleDict:
        n_code = self.way.code_size * n_embedding
        embedder = perceptron(n_features, self.hidden, n_code, self.output, self.dropout, self.slope)
        networks: dict[str, nn.Module] = {"embedder": embedder}
        if self.end_to_end:
            networks["backbone"] = backbone(self.end_to_end, is_trained=False)
        if self.way.reads_pictures and (self.alpha or self.beta):
            networks["encoder"] = encoder(self.side, n_code, self.width, self.slope, self.encoder_output)
        if self.alpha:
            networks["generator"] = generator(self.side, n_code, self.width, self.slope, self.generator_output)
            if getattr(self, "_merges", True) and self.way.code_size > 1:
                networks["merge"] = Merge(n_embedding, self.slope)
        if self.way.reads_pictures and self.beta:
            networks["discriminator"] = discriminator(n_code, self.slope)
        return nn.ModuleDict(networks)

    def _project(self, features: Tensor) -> Tensor:
        return self.way.code(self, self.networks_["embedder"], features)[:, : len(self.class_mean_)]  # [n, a]

    def makes_features(self) -> bool:
        """Tell whether it learns to make features of pictures, so that a data set needs none."""
        return bool(self.end_to_end)

    def with_features(self, data: Dataset) -> Dataset:
        """Return the data set with the features that E was trained with."""
        if not self.makes_features():
            return data
        if not isinstance(data.pictures, Pictures) or not len(data.pictures):
            raise InputError(f"data set {data.name!r} must have pictures for a model trained end to end; got none")
        features = self.features_of(data.pictures)
        return replace(data, features=features, feature_widths=(), reconstruction_features=None, crops=None)

    def features_of(self, pictures: Pictures) -> NDArray[np.float32]:
        """Make the features [n, v] of stored pictures with the backbone that E was trained with."""
        own = self.own_backbone()
        blocks = (pictures[start : start + DRAWN] for start in range(0, len(pictures), DRAWN))
        return np.concatenate([own.rows(list(block[:, None])) for block in blocks])  # the whole is the one crop

    def own_backbone(self) -> Backbone:
        """Return the backbone that E was trained with; it sees whole pictures, shrunk as in training."""
        if not self.makes_features():
            raise InputError(
                f"method must make features of its own; got {self.name}, which works on those of a data set"
            )
        stored = stored_side(self.view)
        as_stored = Preparation(stored, stored, "bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), square=True)
        network = Shrinking(self.networks_["backbone"], self.view)
        name = f"{self.name}:{self.end_to_end}"
        return Backbone(name, network, as_stored, torch_device(self.device), self.precision)

    @property
    def draws(self) -> bool:
        """Tell whether it has learned to reconstruct a picture."""
        return self.way.reads_pictures and "generator" in getattr(self, "networks_", ())

    def reconstructed(self, pictures: NDArray[np.uint8], features: Floats | None = None) -> NDArray[np.uint8]:
        """Reconstruct pictures: G(F(x)), as [n, view, view, 3] colours in 0..255.

        Args:
            pictures: [n, h, h, 3] colours in 0..255; shrunk where they are larger.
            features: [n, v] of the same pictures, for the variants that draw from E(x).
        """
        self._check_draws()
        if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] != 3:
            raise InputError(f"pictures must be [n, h, h, 3] bytes; got {list(pictures.shape)} of {pictures.dtype}")
        if self.way.reads_pictures:
            codes: Iterable[Tensor] = self._read(pictures)
        elif features is None:
            raise InputError(f"features must be given for {self.variant}, which draws from E(x); got none")
        else:
            codes = self.codes(features).split(DRAWN)
        return self._draw(codes)

    @torch.inference_mode()
    def codes(self, features: Floats) -> Tensor:
        """Return [n, d] codes that E makes of features [n, v]; each begins with E(x)."""
        scaled = self._scaled(self._tensor(self._checked_inputs(features)))
        return self.way.code(self, self.networks_["embedder"], scaled)

    def drawn_of(self, codes: Tensor) -> NDArray[np.uint8]:
        """Draw codes [n, d], as `codes` returns them: [n, view, view, 3] colours in 0..255."""
        self._check_draws()
        return self._draw(codes.split(DRAWN))

    def imagined(self, classes: ClassEmbeddings) -> NDArray[np.uint8]:
        """Draw classes from their embeddings alone: G(y), as [k, view, view, 3] colours; the paper's future work 1."""
        self._check_draws()
        if self.way.code_size != 1:
            raise InputError(f"variant must draw from class embeddings to imagine one; got {self.variant}")
        return self._draw(self.describe(classes).split(DRAWN))

    def _read(self, pictures: NDArray[np.uint8]) -> Iterator[Tensor]:
        """Read pictures [n, h, h, 3]: yield [b, a] F(x) of a block of them at a time."""
        device = torch_device(self.device)
        for start in range(0, len(pictures), DRAWN):
            seen = whole(torch.tensor(pictures[start : start + DRAWN]).to(device), self.view)
            with autocast(self.precision, device):
                code = self.networks_["encoder"](seen)
            yield code.float()

    def _draw(self, codes: Iterable[Tensor]) -> NDArray[np.uint8]:
        """Return [n, view, view, 3] colours in 0..255 that G draws of blocks of codes [b, d]."""
        drawn = [np.empty((0, self.view, self.view, 3), dtype=np.uint8)]
        with torch.inference_mode():
            for code in codes:
                with autocast(self.precision, code.device):
                    pictures = draw(self.networks_, code)
                drawn.append(as_bytes(middle(pictures, self.view)))
        return np.concatenate(drawn)

    def _check_draws(self) -> None:
        if not hasattr(self, "trained_on_"):
            raise InputError(f"{self.name} must be fitted before it draws; got one without training; call fit")
        if "generator" not in self.networks_:
            raise InputError("alpha must be above 0 for a model that draws; got one trained with 0")

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state` returned."""
        self._merges = any(name.startswith(f"{NETWORKS}merge.") for name in state)
        super().restore(state)
        self.networks_.to(memory_format=torch.channels_last)  # as it was in training, so that sums come out alike
