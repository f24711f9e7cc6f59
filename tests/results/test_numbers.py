import pytest

from firstsight.errors import InputError
from firstsight.results.numbers import ClassResult, Gain, class_gains


def a_table(**changes):
    rows = {"auk": (50.0, 60.0, 70.0), "emu": (20.0, 40.0, 90.0), "owl": (80.0, 70.0, None)} | changes
    return [ClassResult(name, name == "owl", 9, *values) for name, values in rows.items()]


def test_rows_come_by_gain():
    base = a_table(auk=(50.0, 50.0, 70.0), emu=(20.0, 65.5, 60.0))
    rows = class_gains(a_table(), base[::-1])
    assert [(row.name, row.gain) for row in rows] == [("auk", 10.0), ("owl", 0.0), ("emu", -25.5)]
    assert rows[2] == Gain(name="emu", seen=False, images=9, accuracy=40.0, baseline=65.5, gain=-25.5)
    assert [-row.gain for row in class_gains(base, a_table())][::-1] == [row.gain for row in rows]


def test_another_number():
    rows = class_gains(a_table(), a_table(emu=(20.0, 65.0, 60.0)), "t1")
    assert [(row.name, row.gain) for row in rows] == [("emu", 30.0), ("auk", 0.0)]


def test_without_calibration_in_one_of_them():
    base = a_table(owl=(70.0, None, None))
    assert class_gains(a_table(), base)[0].gain == 10.0  # of plain accuracies


def test_other_classes():
    with pytest.raises(InputError) as caught:
        class_gains(a_table(), a_table(kea=(1.0, 2.0, 3.0)))
    assert str(caught.value) == "baseline must have the same classes as the method; got 1 in one alone, the first 'kea'"
