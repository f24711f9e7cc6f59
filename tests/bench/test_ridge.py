"""The ridge from E's features to pixels, against scikit-learn's."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge as OfScikitLearn
from sklearn.preprocessing import StandardScaler, normalize

from firstsight.bench import ridge as module
from firstsight.bench.ablation import in_size
from firstsight.bench.ridge import PENALTIES, ridge, ridge_errors
from firstsight.methods import SPAENPictures
from tests.support.tiny import tiny_dataset

DATA = tiny_dataset(side=37, n_seen=7, n_unseen=4)


def pixels(images):
    return in_size(DATA.pictures.take(images), 32).reshape(len(images), -1) / 255.0


def features(images):
    scaler = StandardScaler().fit(DATA.features[DATA.trainval])
    return normalize(scaler.transform(DATA.features[images]))


@pytest.mark.parametrize("cells", [1 << 26, 5000])
def test_the_error_is_that_of_scikit_learn(cells, monkeypatch):
    monkeypatch.setattr(module, "CELLS", cells)  # of all pixels at once, and in blocks
    penalties = [0.01, 1.0, 30.0]
    tests = [DATA.test_unseen, DATA.test_seen]
    found = ridge_errors(DATA, "standard-l2", 32, penalties, tests)
    for errors, images in zip(found, tests, strict=True):
        for penalty, error in zip(penalties, errors, strict=True):
            fitted = OfScikitLearn(alpha=penalty).fit(features(DATA.trainval), pixels(DATA.trainval))
            expected = np.square(fitted.predict(features(images)) - pixels(images)).mean()
            assert error == pytest.approx(expected, rel=2e-3)  # pixels are rounded to bytes here


def test_the_penalty_is_chosen_on_validation_classes_alone():
    settings = SPAENPictures(side=32, pretrained="none")
    found = ridge(DATA, settings)
    held_out = DATA.validation_set()
    [errors] = ridge_errors(held_out, settings.scaling, 32, PENALTIES, [held_out.test_unseen])
    assert found.penalty == PENALTIES[int(errors.argmin())]
    unseen, seen = ridge_errors(DATA, settings.scaling, 32, [found.penalty], [DATA.test_unseen, DATA.test_seen])
    assert (found.mse, found.mse_seen) == (unseen[0], seen[0])
    other = DATA.features.copy()
    other[DATA.test_unseen] += 5  # what tests show has no say
    assert ridge(replace(DATA, features=other), settings).penalty == found.penalty
