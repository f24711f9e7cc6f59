"""Images scored once against all classes of a recogniser, for every question about them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from firstsight.data import Floats, Indices
from firstsight.evaluation.calibration import probabilities
from firstsight.evaluation.explanation import Explanation

if TYPE_CHECKING:
    from firstsight.recogniser.recogniser import Recogniser


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of images, and all that follows from them.

    Attributes:
        known: the recogniser.
        features: [n, v] of the images.
        scores: [n, c] of all its classes, gamma subtracted.
    """

    known: Recogniser
    features: Floats
    scores: Floats

    @cached_property
    def probabilities(self) -> Floats:
        """Return the calibrated probabilities [n, c]; rows sum to 1."""
        return probabilities(self.scores, self.known.temperature)

    @cached_property
    def rows(self) -> Indices:
        """Return [n, c] rows of the classes, the most probable first."""
        return np.argsort(-self.probabilities, axis=1, kind="stable")

    @property
    def rejected(self) -> NDArray[np.bool_]:
        """Return [n] whether an image is rejected, as in `Recogniser.rejects`."""
        return self.known.rejects(self.scores.max(axis=1))

    def explain(self, n: int = 3) -> list[Explanation]:
        """Find the attributes that favour the best class of each image over the next, n for it and n against."""
        return self.known.explain(self.features, self.rows, n)
