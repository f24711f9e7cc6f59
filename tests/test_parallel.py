"""Work side by side: outcomes, failures, deaths, progress."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from firstsight.errors import InputError
from firstsight.parallel import Outcome, prefetch, run_jobs


class Recorder:
    def __init__(self):
        self.reports, self.cleared = [], []

    def __call__(self, stage, done, total, losses=None):
        self.reports.append((stage, done, total, dict(losses or {})))

    def clear(self, stage):
        self.cleared.append(stage)


def square(number, reports):
    reports(f"job {number}", 1, 2, {"loss": 0.5})
    if number == 3:
        raise InputError("number must not be 3; got 3")
    if number == 4:
        raise ZeroDivisionError("by four")
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    reports(f"job {number}", 2, 2)
    return number**2, os.getpid()


def outcomes(numbers, n_processes, reports=None):
    found = dict(run_jobs(square, [(number,) for number in numbers], n_processes, reports or Recorder()))
    return [found[at] for at in range(len(numbers))]


@pytest.mark.parametrize("n_processes", [1, 2])
def test_outcomes_by_the_number_of_their_job(n_processes):
    found = outcomes([1, 2, 3, 4, 6], n_processes)
    assert [outcome.value and outcome.value[0] for outcome in found] == [1, 4, None, None, 36]
    assert [outcome.error for outcome in found] == [
        *(None, None, "number must not be 3; got 3", "ZeroDivisionError: by four", None)
    ]
    processes = {outcome.value[1] for outcome in found if outcome.value}
    assert (processes == {os.getpid()}) == (n_processes == 1)
    assert len(processes) == (1 if n_processes == 1 else 3)


def test_a_process_that_is_killed_does_not_end_the_others():
    found = outcomes([5, 7, 8], 2)
    assert found[0] == Outcome(
        error="the process was ended from outside or crashed (exit code -9); memory may have run out"
    )
    assert [outcome.value[0] for outcome in found[1:]] == [49, 64]


@pytest.mark.parametrize("n_processes", [1, 2])
def test_progress_comes_through(n_processes):
    recorder = Recorder()
    outcomes([1, 5] if n_processes == 2 else [1], n_processes, recorder)
    assert ("job 1", 1, 2, {"loss": 0.5}) in recorder.reports
    assert ("job 1", 2, 2, {}) in recorder.reports
    if n_processes == 2:
        assert set(recorder.cleared) == {"job 1", "job 5"}  # the bar of a job that died goes away


def test_no_job_is_no_work():
    assert outcomes([], 2) == []


def test_at_least_one_at_a_time():
    with pytest.raises(InputError) as caught:
        outcomes([1], 0)
    assert str(caught.value) == "jobs must be 1 or more; got 0"


def sleep(folder, reports):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)


def test_who_stops_listening_ends_the_processes(tmp_path):
    working = run_jobs(sleep, [(str(tmp_path),), (str(tmp_path),)], 2, Recorder())

    def stopped(*_):
        if len(list(tmp_path.iterdir())) == 2:  # both are at work
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, stopped)
    signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            next(working)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert len(list(tmp_path.iterdir())) == 2
    for path in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)
    assert not multiprocessing.active_children()


KILLED = """
from tests.test_parallel import Recorder, work_for_ever
from firstsight.parallel import run_jobs
import sys
list(run_jobs(work_for_ever, [(sys.argv[1],), (sys.argv[1],)], 2, Recorder()))
"""


def work_for_ever(folder, reports):
    """Without a word, so that no broken pipe ends it."""
    (Path(folder) / str(os.getpid())).touch()
    while True:
        time.sleep(0.02)


def test_processes_end_soon_after_their_parent_was_killed(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], env=environment)
    try:
        for _ in range(600):
            if len(list(tmp_path.iterdir())) == 2:
                break
            time.sleep(0.05)
        assert len(list(tmp_path.iterdir())) == 2
    finally:
        parent.kill()
        parent.wait()
    children = [int(path.name) for path in tmp_path.iterdir()]
    for _ in range(100):
        if not any(Path(f"/proc/{child}").exists() and not is_zombie(child) for child in children):
            return
        time.sleep(0.05)
    pytest.fail("a process outlived its parent by five seconds")


def is_zombie(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_prefetch_keeps_order_and_does_not_run_away():
    taken = []

    def items():
        for item in range(50):
            taken.append(item)
            yield item

    results = prefetch(lambda item: item * item, items(), ahead=5)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert len(taken) <= 5 + 3
    assert list(results) == [item * item for item in range(3, 50)]


def test_prefetch_raises_where_it_happens():
    results = prefetch(lambda item: 1 // (item - 2), range(5), ahead=4)
    assert [next(results), next(results)] == [-1, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)
