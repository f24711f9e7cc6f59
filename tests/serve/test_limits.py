"""Limits that make no sense are refused."""

import re

import pytest

from firstsight.errors import InputError

pytest.importorskip("httpx2", reason="needs httpx2")
pytest.importorskip("fastapi.testclient", reason="needs the extra serve")

from firstsight.serve import Limits


def test_limits_must_make_sense():
    for name, value, sentence in (
        ("body", 0, "body must be 1 or more; got 0"),
        ("queue", -1, "queue must be 0 or more; got -1"),
        ("timeout", 0.0, "timeout must be above 0 seconds; got 0.0"),
    ):
        with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
            Limits(**{name: value})
