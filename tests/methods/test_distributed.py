"""Two processes that train together take the steps that one takes with the same batch."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from firstsight import checkpoint
from firstsight.errors import InputError
from firstsight.methods import SPAEN, FitControls, loop
from firstsight.methods.distributed import Ranks, joined
from tests.support.trainings import DATA, spaen
from tests.support.trainings import spaen_pictures as make

SETTINGS = {
    "two-stage": {},
    "joint": {"schedule": "joint", "accumulate": 2},
    "clip": {"schedule": "joint", "lipschitz": "clip"},
    "split-branch": {"variant": "split-branch"},
    "direct-map": {"variant": "direct-map"},
    "on features": {},
}
COMMON = {"steps": 5, "autoencoder_steps": 4, "autoencoder_batch": 8, "critic_steps": 2, "dropout": 0.0}
ON_FEATURES = {name: value for name, value in COMMON.items() if name != "autoencoder_batch"}
TOGETHER = """
import sys
from tests.methods import test_distributed
from pathlib import Path
from firstsight.methods.distributed import joined
with joined() as ranks:
    test_distributed.train_together(Path(sys.argv[1]), ranks)
if Path("/proc/self/task").exists():
    names = [(thread / "comm").read_text() for thread in Path("/proc/self/task").iterdir()]
    (Path(sys.argv[1]) / f"threads {ranks.rank}").write_text("".join(names))
"""


def learned(name: str, **run) -> tuple[SPAEN, list]:
    """A method trained with some settings, and what it reported."""
    reports = []
    method = spaen(**ON_FEATURES) if name == "on features" else make(**COMMON, **SETTINGS[name])
    method.fit(DATA.training_set(), FitControls(progress=lambda *report: reports.append(report), **run))
    return method, reports


def train_together(folder: Path, ranks: Ranks) -> None:
    """Train as one of two processes, and write what was learned and reported to the folder."""
    loop.PERIOD, rank = 2, ranks.rank
    for name in SETTINGS:
        own = {"checkpoint": folder / f"{name} kept by {rank}", "checkpoint_every": 2}
        method, reports = learned(name, ranks=ranks, **(own if name == "joint" else {}))
        method.save(folder / f"{name} {rank}.safetensors")
        (folder / f"{name} {rank}.json").write_text(json.dumps(reports))

    def press(done, *_):
        if done == 2 and rank == 1:
            os.kill(os.getpid(), signal.SIGINT)

    unfinished = folder / "unfinished"
    try:
        make(**COMMON).fit(DATA.training_set(), FitControls(press, unfinished, 10**6, ranks=ranks))
    except KeyboardInterrupt:
        (folder / f"stopped {rank}").touch()
    method, _ = learned("two-stage", ranks=ranks, checkpoint=unfinished, checkpoint_every=10**6)
    method.save(folder / f"continued {rank}.safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What two processes have left behind."""
    folder = tmp_path_factory.mktemp("together")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = os.environ | {"OMP_NUM_THREADS": "1"}
    common |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "CUDA_VISIBLE_DEVICES": ""}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, str(folder)],
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=600)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    return folder


@pytest.mark.parametrize("name", SETTINGS)
def test_two_learn_what_one_does(name, folder, monkeypatch):
    monkeypatch.setattr(loop, "PERIOD", 2)
    method, reports = learned(name)
    states = [load_file(folder / f"{name} {rank}.safetensors") for rank in range(2)]
    for key, value in method.state().items():
        assert torch.equal(states[0][key], states[1][key]), key
        torch.testing.assert_close(states[0][key], value, rtol=1e-3, atol=1e-4, msg=key)
    for rank in range(2):
        for (*place, losses), (*other, others) in zip(
            reports, json.loads((folder / f"{name} {rank}.json").read_text()), strict=True
        ):
            assert place == other
            assert losses == pytest.approx(others, rel=1e-3, abs=1e-4)


def test_one_process_writes_the_checkpoint(folder):
    assert (folder / "joint kept by 0").exists()
    assert not (folder / "joint kept by 1").exists()


def test_an_interrupt_of_one_stops_both(folder):
    assert sorted(path.name for path in folder.glob("stopped *")) == ["stopped 0", "stopped 1"]
    assert checkpoint.read(folder / "unfinished")[1]["step"] == 2


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are listed in /proc")
def test_no_thread_of_the_group_is_left(folder):  # one that lets go of a tensor while Python ends kills the process
    for rank in range(2):
        names = (folder / f"threads {rank}").read_text()
        assert "python" in names
        assert "gloo" not in names


def test_two_continue_where_they_were(folder):
    for rank in range(2):
        one, other = (load_file(folder / f"{name} {rank}.safetensors") for name in ("continued", "two-stage"))
        for key, value in one.items():
            assert torch.equal(value, other[key]), key


def test_one_continues_what_two_began(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "PERIOD", 2)
    (tmp_path / "unfinished").write_bytes((folder / "unfinished").read_bytes())
    method, reports = learned("two-stage", checkpoint=tmp_path / "unfinished")
    assert reports[0][0] == 4
    for key, value in load_file(folder / "two-stage 0.safetensors").items():
        torch.testing.assert_close(method.state()[key], value, rtol=1e-3, atol=1e-4, msg=key)


def test_a_checkpoint_that_only_others_see_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Ranks, "any_of_all", lambda self, is_so: True)
    with pytest.raises(InputError, match=r"must exist; got .*unseen"):
        learned("two-stage", checkpoint=tmp_path / "unseen")


def test_alone_it_is_the_first_of_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined() as ranks:
        assert ranks == Ranks() == Ranks(rank=0, n=1)
    drawn = torch.arange(5)
    assert torch.equal(ranks.share(drawn), drawn)
    assert [ranks.any_of_all(is_so) for is_so in (True, False)] == [True, False]
    assert torch.equal(ranks.mean_of_all(drawn), drawn)
    network = torch.nn.Linear(2, 1)
    network(torch.ones(1, 2)).sum().backward()
    gradient = network.weight.grad.clone()
    ranks.average_gradients(network.parameters())
    assert torch.equal(network.weight.grad, gradient)
    with ranks.first_goes_ahead():
        pass
    ranks.check_shared(batch=7)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_shares_are_the_whole(n):
    drawn = torch.from_numpy(np.random.default_rng(0).permutation(12))
    parts = [Ranks(rank, n).share(drawn) for rank in range(n)]
    assert {len(part) for part in parts} == {12 // n}
    assert torch.equal(torch.stack(parts, dim=1).flatten(), drawn)
