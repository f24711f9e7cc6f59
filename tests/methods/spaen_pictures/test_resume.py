"""A training on pictures that was interrupted and continued ends in the same weights, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from firstsight import checkpoint
from firstsight.errors import InputError
from firstsight.methods import FitControls, loop
from tests.methods.test_resume import ENVIRONMENT, Stop, assert_same, stop_at, wait_for
from tests.support.trainings import DATA
from tests.support.trainings import spaen_pictures as make

LONG = {"steps": 6, "autoencoder_steps": 5, "dropout": 0.5, "learning_rate": 0.01, "autoencoder_rate": 0.01}
VARIANTS = {
    "two-stage": {},
    "joint": {"schedule": "joint", "steps": 11},
    "plateau": {"decay": "plateau", "patience": 1},
    "in pieces": {"accumulate": 2},
    "bf16": {"precision": "bf16"},
    "direct-map": {"variant": "direct-map"},
    "sae-image": {"variant": "sae-image", "autoencoder_steps": 11},
    "split-branch": {"variant": "split-branch", "autoencoder_steps": 11},
}


@pytest.fixture(autouse=True)
def short_periods(monkeypatch):
    monkeypatch.setattr(loop, "PERIOD", 2)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("every", "stop"), [(3, 4), (2, 7)])
def test_continued_training_is_the_uninterrupted_one(variant, every, stop, tmp_path):
    settings, training_set = LONG | VARIANTS[variant], DATA.training_set()
    whole = make(**settings).fit(training_set)
    run = FitControls(stop_at(stop), tmp_path / "unfinished", every)
    with pytest.raises(Stop):
        make(**settings).fit(training_set, run)
    steps = []
    continued = make(**settings).fit(
        training_set, FitControls(lambda done, *_: steps.append(done), run.checkpoint, every)
    )
    assert_same(continued, whole)
    assert steps[0] > (stop // every) * every - 2  # it did not begin anew
    assert steps[-1] == 11


def test_an_interrupt_waits_for_the_end_of_the_step_and_saves(tmp_path):
    path = tmp_path / "unfinished"

    def press(done, *_):
        if done == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        make(**LONG).fit(DATA.training_set(), FitControls(press, path, 10**6))
    assert checkpoint.read(path)[1]["step"] == 4
    assert_same(make(**LONG).fit(DATA.training_set(), FitControls(None, path)), make(**LONG).fit(DATA.training_set()))


def other_pictures():
    store = DATA.pictures.store.copy()
    store[DATA.trainval[-1], 36, 36, 2] ^= 1
    return replace(DATA, pictures=store)


@pytest.mark.parametrize(
    ("changes", "data"), [({}, other_pictures()), ({"autoencoder_rate": 0.02}, DATA), ({"variant": "sae-image"}, DATA)]
)
def test_a_checkpoint_of_another_training_is_refused(changes, data, tmp_path):
    path = tmp_path / "unfinished"
    with pytest.raises(Stop):
        make(**LONG).fit(DATA.training_set(), FitControls(stop_at(4), path, 2))
    with pytest.raises(InputError, match="checkpoint must come from this training"):
        make(**LONG | changes).fit(data.training_set(), FitControls(None, path))


def test_pictures_of_the_test_split_may_change(tmp_path):
    path, store = tmp_path / "unfinished", DATA.pictures.store.copy()
    with pytest.raises(Stop):
        make(**LONG).fit(DATA.training_set(), FitControls(stop_at(4), path, 2))
    store[DATA.test_images] = 0
    make(**LONG).fit(replace(DATA, pictures=store).training_set(), FitControls(None, path))


KILLED = """
import sys
from pathlib import Path
from tests.support.trainings import DATA, spaen_pictures as make
from tests.methods.spaen_pictures.test_resume import ENDLESS
from firstsight.methods import FitControls
make(**ENDLESS, schedule=sys.argv[2]).fit(DATA.training_set(), FitControls(None, Path(sys.argv[1]), 5))
"""
ENDLESS = LONG | {"steps": 10**6, "autoencoder_steps": 8}


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["two-stage", "joint"])
@pytest.mark.parametrize("wait", [0.0, 0.37, 1.21])
def test_a_killed_process_can_be_continued(schedule, wait, tmp_path, monkeypatch):
    """SIGKILL in the midst of steps and of writing: what is there is whole, and leads to the same weights."""
    path = tmp_path / "unfinished"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), schedule],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        wait_for(path, process)
        time.sleep(wait)
    finally:
        process.kill()
        process.communicate()
    reached = checkpoint.read(path)[1]["step"]
    assert reached % 5 == 0
    monkeypatch.setattr(loop, "PERIOD", reached + 10)  # report, and so stop, there; it changes no weights

    def weights(run):
        kept = {}
        method = make(**ENDLESS, schedule=schedule)

        def stop(done, *_):
            if done > reached:
                kept.update({name: value.clone() for name, value in method.networks_.state_dict().items()})
                raise Stop

        with pytest.raises(Stop):
            method.fit(DATA.training_set(), FitControls(stop, run, 10**7))
        return kept

    continued, whole = weights(path), weights(None)
    for name, tensor in whole.items():
        assert torch.equal(tensor, continued[name]), name
