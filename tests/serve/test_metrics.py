"""Counts and times in the text format of Prometheus."""

import re

import pytest

from tests.support.serving import sent, start

pytest.importorskip("httpx2", reason="needs httpx2")
pytest.importorskip("fastapi.testclient", reason="needs the extra serve")


def test_counts_and_times(client):
    for colour in ("red", "blue", "red"):
        sent(client, colour)
    client.get("/nowhere")
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    values = {}
    for line in answer.text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert re.fullmatch(r'[a-z_]+(\{([a-z]+="[^"]*",?)+\})?', name)
            values[name] = float(value)
    assert values['firstsight_requests_total{path="/v1/predict",status="200"}'] == 3
    assert values['firstsight_requests_total{path="other",status="404"}'] == 1
    buckets = [value for name, value in values.items() if name.startswith("firstsight_batch_size_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == values["firstsight_batch_size_count"] == 2
    assert values["firstsight_remembered_total"] == 1
    assert values["firstsight_inside"] == 0
    assert values["firstsight_classes"] == 6
    assert values["process_resident_memory_bytes"] > 1e6
    assert [name for name in values if "_created" in name] == []


def test_two_apps_count_for_themselves():
    with start() as one, start() as other:
        sent(one)
        count = 'firstsight_requests_total{path="/v1/predict",status="200"} 1.0'
        assert count in one.get("/metrics").text
        assert "/v1/predict" not in other.get("/metrics").text
