import numpy as np
import pytest

from firstsight.errors import InputError
from firstsight.methods import CLIP, all_names
from tests.support.tiny import tiny_dataset, tiny_training


def test_scores_are_cosines():
    data = tiny_dataset(v=6, a=6)
    scores = CLIP(device="cpu").fit(data.training_set()).scores(data.features, data.classes)
    for image, of_image in zip(data.features, scores, strict=True):
        for vector, score in zip(data.classes.vectors, of_image, strict=True):
            expected = image @ vector / np.linalg.norm(image) / np.linalg.norm(vector)
            assert score == pytest.approx(expected, abs=1e-6)


def test_a_picture_at_its_class_is_recognised_without_training_on_it():
    data = tiny_dataset(v=5, a=5, n_seen=2, n_unseen=8)
    method = CLIP(device="cpu").fit(data.training_set())
    np.testing.assert_array_equal(method.predict(3 * data.classes.vectors, data.classes), np.arange(10))


def test_widths_that_differ():
    with pytest.raises(InputError) as caught:
        CLIP(device="cpu").fit(tiny_training(v=7, a=4))
    assert str(caught.value) == (
        "features and class embeddings must be equally wide for clip, both of one CLIP model; got 7 and 4"
    )


def test_all_does_not_mean_clip():
    """Most data sets have features and class embeddings that have nothing to do with each other."""
    assert "clip" not in all_names()
    assert "eszsl" in all_names()
