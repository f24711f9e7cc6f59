"""A training that was interrupted and continued ends in the same weights, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from firstsight import cli
from firstsight.errors import InputError
from firstsight.methods import SPAEN, FitControls, loop
from tests.support.tiny import tiny_dataset, tiny_training, write_gbu

TINY = {
    "alpha": 1.0,
    "beta": 0.1,
    "hidden": 6,
    "batch": 8,
    "steps": 12,
    "autoencoder_steps": 9,
    "critic_steps": 2,
    "schedule": "two-stage",
    "lipschitz": "penalty",
    "decay": "constant",
    "learning_rate": 0.01,
    "dropout": 0.5,
    "device": "cpu",
}
VARIANTS = {
    "two-stage": {},
    "joint": {"schedule": "joint", "steps": 21},
    "clip": {"lipschitz": "clip"},
    "cosine": {"decay": "cosine"},
    "plateau": {"decay": "plateau", "patience": 1},
    "joint plateau clip": {"schedule": "joint", "steps": 21, "decay": "plateau", "patience": 1, "lipschitz": "clip"},
    "ranking": {"classification": "ranking", "compatibility": "dot"},
    "cls only": {"alpha": 0.0, "beta": 0.0, "steps": 21},
    "weight decay": {"weight_decay": 0.1},
}


class Stop(Exception):
    """What a test stops a training with."""


def make(**changes) -> SPAEN:
    """Tiny settings; `steps` and `autoencoder_steps` are turned into passes over the 48 images that tests train on."""
    settings = TINY | changes
    for name in ("steps", "autoencoder_steps"):
        settings[name.replace("steps", "epochs")] = settings.pop(name) * settings["batch"] / 48
    return SPAEN(**settings)


def stop_at(step: int):
    """A progress callback that stops the training when it reaches a step."""

    def progress(done, total, means):
        if done >= step:
            raise Stop

    return progress


def assert_same(one: SPAEN, other: SPAEN) -> None:
    states = one.state(), other.state()
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


@pytest.fixture(autouse=True)
def short_periods(monkeypatch):
    monkeypatch.setattr(loop, "PERIOD", 2)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("every", "stop"), [(4, 6), (3, 11), (5, 16)])
def test_continued_training_is_the_uninterrupted_one(variant, every, stop, tmp_path):
    training_set = tiny_training(w=5)
    whole = make(**VARIANTS[variant]).fit(training_set)
    run = FitControls(progress=stop_at(stop), checkpoint=tmp_path / "unfinished", checkpoint_every=every)
    with pytest.raises(Stop):
        make(**VARIANTS[variant]).fit(training_set, run)
    assert run.checkpoint.exists()
    steps = []
    run = FitControls(progress=lambda done, *_: steps.append(done), checkpoint=run.checkpoint, checkpoint_every=every)
    continued = make(**VARIANTS[variant]).fit(training_set, run)
    assert_same(continued, whole)
    assert steps[0] > (stop // every) * every - 2  # it did not begin anew
    assert steps[-1] == 21


def test_reported_losses_go_on_as_if_nothing_had_happened(tmp_path):
    training_set = tiny_training()
    whole, parts = [], []
    make().fit(training_set, FitControls(progress=lambda *report: whole.append(report)))
    run = FitControls(progress=stop_at(14), checkpoint=tmp_path / "unfinished", checkpoint_every=5)  # amid a period
    with pytest.raises(Stop):
        make().fit(training_set, run)
    make().fit(training_set, FitControls(progress=lambda *report: parts.append(report), checkpoint=run.checkpoint))
    assert parts == whole[-len(parts) :]


def test_checkpoints_change_nothing(tmp_path):
    whole = make().fit(tiny_training())
    run = FitControls(checkpoint=tmp_path / "unfinished", checkpoint_every=1)
    assert_same(make().fit(tiny_training(), run), whole)


def test_many_interruptions(tmp_path):
    training_set = tiny_training()
    whole = make().fit(training_set)
    for stop in range(4, 21, 2):
        with pytest.raises(Stop):
            make().fit(training_set, FitControls(stop_at(stop), tmp_path / "unfinished", 1))
    assert_same(make().fit(training_set, FitControls(None, tmp_path / "unfinished", 1)), whole)


def test_an_interrupted_method_is_not_fitted(tmp_path):
    method = make()
    with pytest.raises(Stop):
        method.fit(tiny_training(), FitControls(stop_at(4), tmp_path / "unfinished", 1))
    with pytest.raises(InputError, match="spaen must be fitted before it scores"):
        method.scores(tiny_dataset().features, tiny_dataset().classes)


def unfinished(tmp_path, training_set=None) -> Path:
    path = tmp_path / "unfinished"
    with pytest.raises(Stop):
        make().fit(training_set or tiny_training(), FitControls(stop_at(6), path, 4))
    return path


@pytest.mark.parametrize(
    ("changes", "data"),
    [
        ({"seed": 1}, {}),
        ({"learning_rate": 0.02}, {}),
        ({"steps": 13}, {}),
        ({"hidden": 7}, {}),
        ({}, {"seed": 1}),
        ({}, {"noise": 0.31}),
        ({}, {"w": 5}),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(changes, data, tmp_path):
    path = unfinished(tmp_path)
    before = path.read_bytes()
    with pytest.raises(InputError) as caught:
        make(**changes).fit(tiny_training(**data), FitControls(checkpoint=path))
    assert str(caught.value) == (
        f"checkpoint must come from this training; got {path}, made with other settings or data; "
        "delete it to start anew"
    )
    assert path.read_bytes() == before


def test_a_finished_model_is_no_checkpoint(tmp_path):
    path = make().fit(tiny_training()).save(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="checkpoint must come from this training"):
        make().fit(tiny_training(), FitControls(checkpoint=path))


@pytest.mark.parametrize("share", [0, 0.2, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused(share, tmp_path):
    path = unfinished(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError) as caught:
        make().fit(tiny_training(), FitControls(checkpoint=path))
    assert str(caught.value).startswith(f"{path} must be a .safetensors file; got ")


def test_a_checkpoint_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="must be a place to write to; got "):
        make().fit(tiny_training(), FitControls(checkpoint=tmp_path / "file" / "unfinished", checkpoint_every=1))


def test_the_interrupt_handler_is_given_back(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    make().fit(tiny_training())
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(Stop):
        make().fit(tiny_training(), FitControls(stop_at(2)))
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_waits_for_the_end_of_the_step_and_saves(tmp_path):
    path = tmp_path / "unfinished"

    def press(done, *_):
        if done == 8:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        make().fit(tiny_training(), FitControls(press, path, 10**6))
    assert path.exists()
    assert_same(make().fit(tiny_training(), FitControls(None, path)), make().fit(tiny_training()))


def test_outside_the_main_thread_a_fit_works_too():
    import threading

    found = []
    thread = threading.Thread(target=lambda: found.append(make().fit(tiny_training())))
    thread.start()
    thread.join()
    assert_same(found[0], make().fit(tiny_training()))


ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Until the file is there."""
    for _ in range(2400):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.025)
    pytest.fail(f"{path.name} was never written")


KILLED = """
import sys
from pathlib import Path
from tests.methods.test_resume import make, tiny_training
from firstsight.methods import FitControls
make(steps=10**6, decay="constant").fit(tiny_training(), FitControls(None, Path(sys.argv[1]), 5))
"""


def test_a_killed_process_can_be_continued(tmp_path, monkeypatch):
    """SIGKILL in the midst of steps and of writing: what is there is whole, and leads to the same weights."""
    path = tmp_path / "unfinished"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        wait_for(path, process)
        time.sleep(0.2)
    finally:
        process.kill()
        process.communicate()
    from firstsight import checkpoint

    tensors, metadata = checkpoint.read(path)
    assert metadata["step"] % 5 == 0
    reached = metadata["step"]
    monkeypatch.setattr(loop, "PERIOD", reached + 20)  # report, and so stop, there; it changes no weights

    def state(run):
        kept = {}
        method = make(steps=10**6, decay="constant")

        def stop(done, *_):
            if done <= reached:  # the end of the first stage
                return
            kept.update({name: value.clone() for name, value in method.networks_.state_dict().items()})
            raise Stop

        with pytest.raises(Stop):
            method.fit(tiny_training(), FitControls(stop, run, 10**7))
        return kept

    continued, whole = state(path), state(None)
    assert tensors
    for name, tensor in whole.items():
        assert torch.equal(tensor, continued[name]), name


def fit_command(folder: Path, out: Path, steps: int) -> list[str]:
    settings = {"alpha": 0, "beta": 0, "hidden": 6, "batch": 8, "epochs": steps * 8 / 48, "device": "cpu"}
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    return ["fit", "spaen", "--data", str(folder), "--out", str(out), "--checkpoint-every", "20", *words]


def test_ctrl_c_keeps_the_training_and_the_same_command_continues_it(tmp_path, capfd):
    folder, out, whole = write_gbu(tmp_path / "TINY", tiny_dataset()), tmp_path / "model", tmp_path / "whole"
    partial = tmp_path / "model.partial"
    command = fit_command(folder, out, steps=1000)
    script = "import sys; from firstsight.cli import main; main(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", script, *command],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(partial, process)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert output == ""
    assert errors == (f"stopped; kept in {partial}; the same command continues from there\nfirstsight: stopped\n")
    assert partial.exists()
    assert not out.exists()
    cli.main(command)
    assert capfd.readouterr().err == f"continuing from {partial}\n"
    assert not partial.exists()
    cli.main(fit_command(folder, whole, steps=1000))
    one, other = load_file(out), load_file(whole)
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["TINY", "model", "whole"]
    assert one["feature_mean_"].isfinite().all()
