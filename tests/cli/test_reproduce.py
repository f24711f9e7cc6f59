"""`firstsight reproduce` from outside: the list, the page, JSON, and the same end after two kills."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support.reproducing import inputs, shrink


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    shrink(monkeypatch.setattr)
    monkeypatch.setenv("FIRSTSIGHT_CACHE", str(tmp_path / "cache"))


def test_the_list_says_what_is_there_and_how_long_it_takes(run, folders, tmp_path):
    gbu, pictures = folders
    out = tmp_path / "out"
    words = ("reproduce", "table3", "fig1", "--gbu", gbu, "--pictures", pictures, "--quick", "--list", "--out", out)
    code, printed, err = run(*words)
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert lines[0] == "Table 3 (table3)"
    assert "SUN pictures missing no res101.mat and no pictures" in lines
    assert any(line.startswith("cub-colours pictures about ") for line in lines)
    assert "SUN, CUB, aPY splits seconds att_splits.mat and labels" in lines
    assert "pictures of CUB: `firstsight data fetch CUB_200_2011`, then `--pictures`" in lines
    assert lines[-1].endswith("of training in all, shared trainings once; finished ones are kept.")
    assert not (out / "reproduction.html").exists()
    code, printed, _ = run(*words, "--json")
    rows = {(row["item"], row["data"]): row for row in json.loads(printed)["items"]}
    assert rows["table3", "cub-colours"]["is_ready"]
    assert rows["table3", "cub-colours"]["seconds"] > 0
    assert rows["table3", "AWA2"]["missing"] == "no att_splits.mat"


def test_one_item(run, folders, tmp_path):
    gbu, _ = folders
    out = tmp_path / "out"
    code, printed, err = run("reproduce", "fig1", "--gbu", gbu, "--data", "CUB", "--quick", "--out", out)
    assert (code, printed) == (0, f"The page is at {out / 'reproduction.html'}\n")
    assert "fig1: CUB, splits" in err
    assert (out / "figures" / "figure1-CUB-variance.svg").exists()
    code, printed, _ = run("reproduce", "fig1", "--gbu", gbu, "--data", "CUB", "--quick", "--out", out, "--json")
    (item,) = json.loads(printed)["items"]
    assert (item["item"], item["outcomes"][0]["is_run"]) == ("fig1", True)


def test_without_any_input_the_splits_are_said_to_be_missing(run, tmp_path):
    code, printed, _ = run("reproduce", "fig1", "--quick", "--list", "--out", tmp_path)
    assert code == 0
    assert "SUN, CUB, AWA2, aPY" in printed
    assert "no att_splits.mat" in printed


def test_unknown_items_are_refused(run, tmp_path):
    code, printed, err = run("reproduce", "figure7", "--out", tmp_path)
    assert (code, printed) == (2, "")
    assert err.startswith("firstsight: unknown item 'figure7'; did you mean 'fig7'?")


def texts(out):
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted([*(out / "tables").iterdir(), out / "reproduction.html"])
    }


@pytest.mark.slow
def test_killed_twice_it_ends_the_same(folders, tmp_path):
    """Killed within a training, and between two items, the same command ends with the same page and tables."""
    gbu, pictures = folders

    def start(out):
        words = ["all", "--quick", "--gbu", gbu, "--pictures", pictures, "--out", out]
        command = [sys.executable, "-m", "tests.support.reproducing", "reproduce", *map(str, words)]
        return subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"})

    def killed_when(is_time):
        work = start(tmp_path / "killed")
        end = time.monotonic() + 300
        while not is_time():
            assert work.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        work.send_signal(signal.SIGKILL)
        work.communicate()
        assert work.returncode == -signal.SIGKILL

    killed = tmp_path / "killed"
    killed_when(lambda: len(list(killed.glob("features/runs/*.json"))) >= 5)
    assert not (killed / "tables" / "table2.csv").exists()
    killed_when(lambda: list(killed.glob("pictures/*/reconstruction/*.json")))
    assert not (killed / "tables" / "table3.csv").exists()
    for out in (killed, tmp_path / "whole"):
        work = start(out)
        _, err = work.communicate(timeout=600)
        assert work.returncode == 0, err.decode()
    assert texts(killed) == texts(tmp_path / "whole")
