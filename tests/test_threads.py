"""Work that threads do ahead."""

import pytest

from firstsight.threads import side_by_side


def test_side_by_side_keeps_order_and_does_not_run_away():
    taken = []

    def items():
        for item in range(50):
            taken.append(item)
            yield item

    results = side_by_side(lambda item: item * item, items(), ahead=5)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert len(taken) <= 5 + 3
    assert list(results) == [item * item for item in range(3, 50)]


def test_side_by_side_raises_where_it_happens():
    results = side_by_side(lambda item: 1 // (item - 2), range(5), ahead=4)
    assert [next(results), next(results)] == [-1, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)
