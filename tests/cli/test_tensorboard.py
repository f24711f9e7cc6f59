"""What TensorBoard would show of a training, read back from its files."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from firstsight.cli.tensorboard import Board
from firstsight.errors import InputError
from firstsight.pictures.sheet import tiled


def told(folder):
    """What is in the event files, as TensorBoard understands it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()


def test_losses_and_pictures(tmp_path):
    pair = np.random.default_rng(0).integers(0, 256, (2, 9, 32, 32, 3), dtype=np.uint8)
    with Board(tmp_path / "new" / "log") as board:
        board.progress(100, 300, {"classification": 2.5, "critic gap": -0.25})
        board.draw(100, pair)
        board.progress(200, 300, {"classification": 1.5, "critic gap": 0.5})
    events = told(tmp_path / "new" / "log")
    assert set(events.Tags()["scalars"]) == {"training/classification", "training/critic_gap"}
    scalars = {name: [(one.step, one.value) for one in events.Scalars(name)] for name in events.Tags()["scalars"]}
    assert scalars["training/classification"] == [(100, 2.5), (200, 1.5)]
    assert scalars["training/critic_gap"] == [(100, -0.25), (200, 0.5)]
    (image,) = events.Images("originals_above_reconstructions")
    assert image.step == 100
    shown = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)).convert("RGB"))
    assert np.array_equal(shown, tiled(pair))


def test_what_a_killed_training_told_twice_counts_once(tmp_path):
    with Board(tmp_path) as board:
        for step in (100, 200, 300):
            board.progress(step, 400, {"loss": step / 100})
    with Board(tmp_path) as board:  # it goes on from a checkpoint at 150
        for step in (200, 300, 400):
            board.progress(step, 400, {"loss": -step / 100})
    assert [(one.step, one.value) for one in told(tmp_path).Scalars("training/loss")] == [
        (100, 1.0),
        (200, -2.0),
        (300, -3.0),
        (400, -4.0),
    ]


def test_a_board_without_news_writes_nothing(tmp_path):
    with Board(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_without_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    sentence = (
        f"log for TensorBoard in {tmp_path} must have the package tensorboard; got an installation without it; "
        "pip install 'firstsight[tensorboard]'"
    )
    with pytest.raises(InputError) as caught:
        Board(tmp_path)
    assert str(caught.value) == sentence


def test_a_place_that_is_a_file(tmp_path):
    (tmp_path / "log").write_text("")
    with pytest.raises(InputError, match=r"^.*log must be a folder to write to; got File exists$"):
        Board(tmp_path / "log")
