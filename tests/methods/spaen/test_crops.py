"""SP-AEN on features of crops: one view for E, F and what G reconstructs; other methods use the whole."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from firstsight.data import Crops
from firstsight.errors import InputError
from firstsight.methods import SPAEN, FitControls, eszsl
from firstsight.methods.distributed import Ranks
from firstsight.methods.fitting import CropFeatures, TrainingTensors
from firstsight.methods.spaen.steps import FeatureSteps
from tests.methods.test_resume import Stop, assert_same, stop_at
from tests.support.tiny import tiny_dataset
from tests.support.trainings import copied, says
from tests.support.trainings import spaen as make

DATA = tiny_dataset()
STORE = np.random.default_rng(0).normal(size=(len(DATA.labels), 10, 7)).astype(np.float32)
CROPPED = replace(DATA, crops=Crops(STORE, np.arange(len(STORE))))


def steps_of(method: SPAEN) -> FeatureSteps:
    """Make steps on 48 images of 5 classes, whose crop k has features 100 image + k."""
    torch.manual_seed(0)
    features = torch.zeros(48, 7)
    store = (100 * np.arange(48)[:, None, None] + np.arange(10)[:, None] + np.zeros(7)).astype(np.float32)
    crops = CropFeatures(Crops(store, np.arange(48)), torch.from_numpy)
    images = TrainingTensors(features, torch.arange(48) % 5, torch.randn(5, 4), features, (7,), crops=crops)
    return FeatureSteps(method, method._networks(7, 7, 4), images, Ranks())


@pytest.mark.parametrize("schedule", ["two-stage", "joint"])
def test_e_f_and_the_critic_draw_crops(schedule, monkeypatch):
    made = steps_of(make(schedule=schedule, batch=64))
    seen = {"embedder": [], "encoder": []}
    for name, values in seen.items():
        made.networks[name].register_forward_hook(lambda _, given, __, to=values: to.append(given[0]))
    made.embedder_step()
    if schedule == "two-stage":
        made.autoencoder_step()
    for name, values in seen.items():
        drawn = torch.cat(values)
        assert (drawn == drawn[:, :1]).all()
        assert len((drawn[:, 0] % 100).unique()) == 10, name
        assert len((drawn[:, 0] // 100).unique()) > 24, name


def test_a_crop_has_the_label_of_its_image(monkeypatch):
    made, taken = steps_of(make(beta=0.0, batch=16)), []
    monkeypatch.setattr(
        "firstsight.methods.spaen.steps.classification_loss",
        lambda _, compatibility, labels: (taken.append(labels), compatibility.sum())[1],
    )
    seen = []
    made.networks["embedder"].register_forward_hook(lambda _, given, __: seen.append(given[0]))
    made.embedder.loss(made.batches, None, {})
    np.testing.assert_array_equal(taken[0], (seen[0][:, 0] // 100) % 5)


def test_g_reconstructs_the_crop_that_f_reads(monkeypatch):
    made, pairs = steps_of(make(schedule="two-stage", beta=0.0)), []
    losses_of = made.reconstruction_losses
    monkeypatch.setattr(made, "reconstruction_losses", lambda *given: (pairs.append(given), losses_of(*given))[1])
    made.autoencoder_step()
    [(targets, encoded)] = pairs
    torch.testing.assert_close(encoded, made.networks["encoder"](targets), atol=1, rtol=1)  # F has taken a step since
    assert len(targets.unique()) > 4


def test_crops_are_scaled_like_the_features():
    same = replace(DATA, crops=Crops(np.repeat(DATA.features[:, None], 10, axis=1), np.arange(len(STORE))))
    tensors = make()._prepared(same.training_set())
    torch.testing.assert_close(tensors.crops[torch.tensor([37, 30, 9])], tensors.features[[3, 3, 0]])


def test_crops_teach_something_else():
    whole, crops = (make().fit(data.training_set()) for data in (DATA, CROPPED))
    assert (copied(whole.networks_)["embedder"] != copied(crops.networks_)["embedder"]).any()
    again = make().fit(CROPPED.training_set())
    assert_same(again, crops)


def test_methods_that_know_no_crops_use_the_whole():
    one, other = (eszsl.ESZSL().fit(data.training_set()) for data in (DATA, CROPPED))
    assert_same(one, other)


def test_other_reconstruction_features_have_no_crops():
    """E's view and F's would not be the same, so the whole is used."""
    other = np.random.default_rng(5).normal(size=(len(STORE), 9)).astype(np.float32)
    plain, cropped = (replace(data, reconstruction_features=other) for data in (DATA, CROPPED))
    assert_same(make().fit(plain.training_set()), make().fit(cropped.training_set()))


def test_a_checkpoint_of_other_crops_is_refused(tmp_path):
    run = FitControls(stop_at(4), tmp_path / "unfinished", 2)
    with pytest.raises(Stop):
        make(steps=7).fit(CROPPED.training_set(), run)
    again = FitControls(None, run.checkpoint)
    for data in (DATA, replace(CROPPED, crops=Crops(STORE + 1, CROPPED.crops.rows))):
        with pytest.raises(InputError, match="checkpoint must come from this training"):
            make(steps=7).fit(data.training_set(), again)
    assert_same(make(steps=7).fit(CROPPED.training_set(), again), make(steps=7).fit(CROPPED.training_set()))


def test_crops_follow_their_images():
    rows = CROPPED.trainval[[5, 2, 8]]
    subset = CROPPED.subset(rows)
    np.testing.assert_array_equal(subset.crops[:], STORE[rows])
    assert subset.crops.store is CROPPED.crops.store  # nothing is copied
    training = CROPPED.training_set()
    np.testing.assert_array_equal(training.crops[:], STORE[CROPPED.trainval])
    held_out = CROPPED.validation_set()
    assert len(held_out.crops) == len(held_out.labels)
    assert CROPPED.fingerprint != DATA.fingerprint
    assert CROPPED.fingerprint != replace(CROPPED, crops=Crops(STORE + 1, CROPPED.crops.rows)).fingerprint


def test_bad_crops():
    says(
        "crops must be [90 labels, crops, 7 columns]; got [90, 10, 6]",
        lambda: replace(DATA, crops=Crops(STORE[..., :6], np.arange(90))),
    )
    says(
        "crops must be [90 labels, crops, 7 columns]; got [80, 10, 7]",
        lambda: replace(DATA, crops=Crops(STORE, np.arange(80))),
    )
