"""Bench: what a run's file says, side by side, what fails, and being killed."""

import base64
import json
import os
import random
import subprocess
import sys
import time
from functools import partial
from operator import attrgetter

import numpy as np
import pytest

from firstsight import cli, files
from firstsight.bench import bench, provenance
from firstsight.bench.bench import ROW, Bench, make_method, origin_of
from firstsight.bench.provenance import PeakMemory, commit
from firstsight.evaluation.evaluate import evaluate
from firstsight.evaluation.metrics import class_accuracies, harmonic_mean
from firstsight.methods import ESZSL, METHODS, FitControls
from firstsight.methods.loop import Loop
from firstsight.progress import Display
from firstsight.results.records import RunRecord
from firstsight.tuning.settings_file import Chosen
from tests.support.tiny import FAST, tiny_dataset, write_gbu

ALE = {"ale": METHODS["ale"](**FAST["ale"])}


@pytest.fixture
def data():
    return tiny_dataset()


def test_a_run_says_what_it_was(data, tmp_path):
    methods = {"eszsl": ESZSL(), "spaen:paper": make_method("spaen:paper", epochs=0.1), "ale": ALE["ale"]}
    methods["preset"] = make_method("spaen:authors-cls-only")
    del methods["preset"]
    tuned = {("tiny", "ale"): Chosen({"learning_rate": 0.7}, "ausuc 0.9 on validation classes")}
    runs = Bench([data], methods, [3], calibrate=False, tuned=tuned).run(tmp_path, Display())
    assert [run.settings_from for run in runs] == [
        *("defaults", "given by hand", "ausuc 0.9 on validation classes"),
    ]
    assert runs[2].settings == {**ALE["ale"].settings(), "learning_rate": 0.7, "seed": 3}
    for run in runs:
        assert RunRecord.read(tmp_path / "runs" / f"{files.file_name(run.data, run.method, str(run.seed))}.json") == run
        assert run.fingerprint == data.fingerprint
        assert set(run.versions) == {"python", "firstsight", "torch", "numpy"}
        assert run.threads >= 1
        assert run.memory > 50e6  # python with torch
        assert run.seconds_fit > 0
    assert [run.title for run in runs] == ["ESZSL", "SP-AEN (letter of the paper, beta 5)", "ALE"]


def test_a_training_that_was_killed_is_continued(data, tmp_path, monkeypatch):
    methods = {"spaen": METHODS["spaen"](**(FAST["spaen"] | {"epochs": 3.0}))}
    (whole,) = Bench([data], methods, [0], calibrate=False).run(tmp_path / "whole", Display())
    monkeypatch.setattr(bench, "FitControls", partial(FitControls, checkpoint_every=4))
    steps = []
    advance = Loop.advance

    def kill(self, controls):
        if self.step == 6:
            raise KeyboardInterrupt
        advance(self, controls)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "advance", kill)
        with pytest.raises(KeyboardInterrupt):
            Bench([data], methods, [0], calibrate=False).run(tmp_path / "out", Display())
    monkeypatch.setattr(Loop, "advance", lambda self, controls: steps.append(self.step) or advance(self, controls))
    (run,) = Bench([data], methods, [0], calibrate=False).run(tmp_path / "out", Display())
    assert steps[0] == 4
    assert (run.images, run.ausuc, run.seconds_fit) == (whole.images, whole.ausuc, None)
    assert [path.suffix for path in (tmp_path / "out" / "runs").iterdir()] == [".json"]


def test_a_method_says_how_it_is_written(data, tmp_path, monkeypatch):
    monkeypatch.setattr(ESZSL, "title", "EsZsl")
    methods = dict.fromkeys(("eszsl", "eszsl:wide", "other"), ESZSL())
    runs = Bench([data], methods, [0], calibrate=False).run(tmp_path, Display())
    assert [run.title for run in runs] == ["EsZsl", "EsZsl (wide)", "OTHER"]


def test_presets_are_named(data):
    assert origin_of(make_method("spaen:authors")) == "preset authors"
    assert origin_of(make_method("spaen", seed=4)) == "defaults"
    assert origin_of(make_method("spaen", alpha=3.0)) == "given by hand"


def test_all_accuracies_follow_from_what_a_run_says_of_its_images(data, tmp_path):
    (run,) = Bench([data], {"sae": METHODS["sae"]()}, [0]).run(tmp_path, Display())
    about = json.loads((tmp_path / "data" / "tiny.json").read_text())
    labels, is_seen = np.array(about["labels"]), np.array(about["is_seen"], dtype=bool)
    tests = data.test_images
    np.testing.assert_array_equal(labels, data.labels[tests])
    assert about["names"] == list(data.classes.names)
    lead = np.frombuffer(base64.b64decode(run.images.lead), "<f4")
    bits = np.frombuffer(base64.b64decode(run.images.right), np.uint8)
    right = np.unpackbits(bits)[: len(labels)].astype(bool)
    expected = evaluate(METHODS["sae"]().fit(data.training_set()), data)

    def accuracies(gamma):
        answered_seen = lead > gamma
        hits = right & (answered_seen == is_seen[labels])
        by_class = class_accuracies(np.where(hits, labels, -1), labels, len(is_seen))
        u, s = np.nanmean(by_class[~is_seen]), np.nanmean(by_class[is_seen])
        return u, s, float(harmonic_mean(u, s))

    assert accuracies(0) == pytest.approx((expected.u, expected.s, expected.h))
    assert accuracies(run.gamma) == pytest.approx((expected.u_cal, expected.s_cal, expected.h_cal))
    unseen = ~is_seen[labels]
    alone = class_accuracies(np.where(right, labels, -1)[unseen], labels[unseen], len(is_seen))
    assert np.nanmean(alone) == pytest.approx(expected.t1)


def test_side_by_side_as_one_by_one(data, tmp_path):
    methods = {**ALE, "eszsl": ESZSL()}
    one, two = (Bench([data], methods, [0, 1]).run(tmp_path / str(n), Display(), n) for n in (1, 2))
    assert [(run.method, run.seed) for run in two] == [("ale", 0), ("ale", 1), ("eszsl", 0)]
    for a, b in zip(one, two, strict=True):
        assert attrgetter(*ROW)(a) == attrgetter(*ROW)(b)


def test_a_run_that_fails_is_recorded_and_the_others_go_on(data, tmp_path, monkeypatch):
    methods = {"sae": METHODS["sae"](), **ALE}
    monkeypatch.setattr(METHODS["sae"], "_scores", lambda *_: 1 / 0)
    failed, finished = Bench([data], methods, [0]).run(tmp_path, Display())
    assert failed.error == "ZeroDivisionError: division by zero"
    assert failed.h is None
    assert (failed.settings, failed.seed) == (METHODS["sae"]().settings(), 0)
    assert finished.error is None
    written = tmp_path / "runs" / "tiny-sae-0.json"
    assert RunRecord.read(written) == failed
    assert "h" not in json.loads(written.read_text())
    monkeypatch.undo()
    again, kept = Bench([data], methods, [0]).run(tmp_path, Display())
    assert again.error is None
    assert kept == finished


@pytest.fixture
def command(tmp_path):
    folder = write_gbu(tmp_path / "TINY", tiny_dataset())
    return ["bench", "--data", str(folder), "--methods", "eszsl", "--out", str(tmp_path / "out")]


def test_failed_runs_on_the_command_line(command, monkeypatch, capfd):
    monkeypatch.setattr(ESZSL, "_scores", lambda *_: 1 / 0)
    with pytest.raises(SystemExit) as caught:
        cli.main(command)
    assert caught.value.code == 2
    assert capfd.readouterr().err.splitlines() == [
        "eszsl on TINY, seed 0: failed: ZeroDivisionError: division by zero",
        "firstsight: runs must finish; got 1 of 1 failed; the same command tries them again",
    ]


def test_a_full_disk_is_one_sentence(command, tmp_path, monkeypatch, capfd):
    real = files.Path.write_text

    def full(path, text, **options):
        if "runs" in str(path):
            raise OSError(28, "No space left on device")
        return real(path, text, **options)

    monkeypatch.setattr(files.Path, "write_text", full)
    with pytest.raises(SystemExit) as caught:
        cli.main(command)
    assert caught.value.code == 2
    path = tmp_path / "out" / "runs" / "TINY-eszsl-0.json"
    assert capfd.readouterr().err == f"firstsight: {path} must be a place to write to; got No space left on device\n"
    assert not list((tmp_path / "out" / "runs").iterdir())


def test_a_place_that_cannot_be_written_to_is_one_sentence(command, tmp_path, capfd):
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(SystemExit) as caught:
        cli.main(command)
    assert caught.value.code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert (
        line
        == f"firstsight: {tmp_path / 'out' / 'data' / 'TINY.json'} must be a place to write to; got Not a directory"
    )


def test_memory_is_the_peak_and_not_the_end():
    size = 200_000_000
    with PeakMemory() as without:
        time.sleep(0.05)
    with PeakMemory() as memory:
        block = np.ones(size, dtype=np.uint8)
        time.sleep(0.05)
        del block
    assert memory.peak - without.peak > 0.8 * size


def test_the_commit_of_the_code(monkeypatch):
    found = commit()
    assert found is None or len(found.removesuffix("+dirty")) >= 7
    monkeypatch.setattr(provenance, "__file__", "/provenance.py")
    assert commit() is None


KILLED = """
import sys
from pathlib import Path
from tests.bench import test_bench
test_bench.endless_bench(Path(sys.argv[1]), int(sys.argv[2]))
"""


def endless_bench(out, jobs):
    """40 runs of a few hundredths of a second."""
    Bench([tiny_dataset()], ALE, range(40)).run(out, Display(), jobs)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_bench_killed_at_any_moment_goes_on_where_it_was(jobs, tmp_path):
    """Ten kills for each way of working: whole files only, and no finished run is made again."""
    rng = random.Random(jobs)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    seen = {}
    for _ in range(10):
        before = len(seen)
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path), str(jobs)], env=environment, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "runs").glob("*.json"))) <= before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(rng.random() * 0.1)
        process.kill()
        process.wait()
        for path in (tmp_path / "runs").glob("*.json"):
            text = path.read_text()
            assert json.loads(text)["h"] is not None
            assert seen.setdefault(path.name, text) == text, "a finished run was made again"
    n_kept = len(seen)
    assert 10 <= n_kept <= 40
    endless_bench(tmp_path, 1)
    texts = {path.name: path.read_text() for path in (tmp_path / "runs").glob("*.json")}
    assert len(texts) == 40
    assert all(texts[name] == text for name, text in seen.items())
    whole = {seed: evaluate_run(seed) for seed in (0, 39)}
    assert {seed: json.loads(texts[f"tiny-ale-{seed}.json"])["ausuc"] for seed in whole} == whole


def evaluate_run(seed):
    data = tiny_dataset()
    method = METHODS["ale"](**FAST["ale"], seed=seed).fit(data.training_set())
    return evaluate(method, data, calibrate=False).ausuc
