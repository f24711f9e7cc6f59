"""What a class below a method inherits where it changes a part of it."""

import dataclasses

import numpy as np
import pytest

from firstsight.methods import ESZSL, SAE
from tests.support.tiny import tiny_dataset

DATA = tiny_dataset()


def zeroed(base):
    """A class below a method whose `_fit` alone is another: what is learned is then set to 0."""

    @dataclasses.dataclass(kw_only=True)
    class Zeroed(base):
        """A method that scores everything alike."""

        def _fit(self, training, controls):
            super()._fit(training, controls)
            self.weight_ *= 0

    return Zeroed


@pytest.mark.parametrize("base", [ESZSL, SAE])
def test_another_fit_is_used_for_several_settings_too(base):
    kind = zeroed(base)
    assert base.shares_fits
    assert not kind.shares_fits
    variants = [kind(lam=lam, device="cpu") for lam in (0.1, 1.0, 10.0, 100.0)]
    for fitted in kind.fit_each(variants, DATA.training_set()):
        np.testing.assert_array_equal(fitted.scores(DATA.features, DATA.classes), 0)


def test_a_class_that_changes_nothing_of_the_fit_shares_it():
    @dataclasses.dataclass(kw_only=True)
    class Renamed(ESZSL):
        """ESZSL by another name."""

        name = "renamed"

    assert Renamed.shares_fits
