"""What comes one by one is worked on together, in order, and fails alone."""

import threading
import time

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")

from firstsight.serve.batching import Batcher


@pytest.fixture
def batcher():
    """A function that makes one; all are closed in the end."""
    made = []

    def batcher(work, most=4, wait=0.0):
        sizes = []
        made.append(Batcher(work, most, wait, sizes.append))
        made[-1].sizes = sizes
        return made[-1]

    yield batcher
    for one in made:
        one.close()


def test_each_gets_its_own(batcher):
    one = batcher(lambda items: [item * 10 for item in items], wait=0.002)
    futures = [one.submit(item) for item in range(50)]
    assert [future.result(5) for future in futures] == [item * 10 for item in range(50)]
    assert sum(one.sizes) == 50
    assert max(one.sizes) <= 4


def test_what_comes_during_a_batch_is_the_next(batcher):
    begun, may_end = threading.Event(), threading.Event()

    def work(items):
        begun.set()
        assert may_end.wait(5)
        return items

    one = batcher(work)
    first = one.submit(0)
    assert begun.wait(5)
    others = [one.submit(item) for item in range(1, 7)]
    may_end.set()
    assert [future.result(5) for future in (first, *others)] == list(range(7))
    assert one.sizes[0] == 1
    assert sum(one.sizes) == 7


def test_a_full_batch_does_not_wait(batcher):
    one = batcher(list, most=3, wait=30)
    start = time.monotonic()
    assert [future.result(5) for future in [one.submit(item) for item in range(3)]] == [0, 1, 2]
    assert time.monotonic() - start < 5
    one.submit(3)  # `close` ends its wait


def test_one_that_fails_does_not_spoil_the_others(batcher):
    def work(items):
        if 2 in items:
            raise ValueError("two")
        return items

    one = batcher(work, wait=0.05)
    futures = [one.submit(item) for item in range(4)]
    with pytest.raises(ValueError, match=r"^two$"):
        futures[2].result(5)
    assert [futures[row].result(5) for row in (0, 1, 3)] == [0, 1, 3]


def test_one_that_was_given_up_is_left_out(batcher):
    begun, may_end, seen = threading.Event(), threading.Event(), []

    def work(items):
        seen.extend(items)
        begun.set()
        assert may_end.wait(5)
        return items

    one = batcher(work)
    one.submit("first")
    assert begun.wait(5)
    given_up, last = one.submit("given up"), one.submit("last")
    assert given_up.cancel()
    may_end.set()
    assert last.result(5) == "last"
    assert seen == ["first", "last"]
