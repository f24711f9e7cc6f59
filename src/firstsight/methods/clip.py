"""CLIP without training (Radford et al., ICML 2021): the class whose text lies nearest to the picture.

    score(x, y) = cos(x, s(y))

Features x must be those of a CLIP picture tower and class embeddings s(y) those of the same model's text tower, since
nothing is learned that would lead from one to the other. `firstsight.semantics.text.prompt_embeddings` makes the latter
from class names.

Differences from the paper: scores are cosines without the learned temperature, which changes no ranking; it is chosen
on validation classes like that of any method.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from firstsight.errors import InputError
from firstsight.methods.base import Method
from firstsight.methods.fitting import FitControls, Search, TrainingTensors
from firstsight.methods.scaling import unit_rows


@dataclass(kw_only=True)
class CLIP(Method):
    """Nearest text to a picture."""

    name = "clip"
    source = "Radford et al., ICML 2021"
    is_random = False
    one_space = True
    search = Search({"scaling": ("none", "standard"), "class_scaling": ("l2", "centred")})

    def _fit(self, training: TrainingTensors, controls: FitControls) -> None:
        v, a = training.features.shape[1], training.vectors.shape[1]
        if v != a:
            raise InputError(
                f"features and class embeddings must be equally wide for clip, both of one CLIP model; got {v} and {a}"
            )

    def _scores(self, features: Tensor, vectors: Tensor) -> Tensor:
        return unit_rows(features) @ unit_rows(vectors).T  # [n, k]
