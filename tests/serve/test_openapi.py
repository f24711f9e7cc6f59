"""The API against its own description: requests made from `/openapi.json`, allowed ones and forbidden ones."""

import pytest
from hypothesis import HealthCheck, assume, given, settings

from tests.support.colours import Painter, worded

pytest.importorskip("fastapi", reason="needs the extra serve")
schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")

from firstsight.serve import Limits, make_app  # noqa: E402 - the extra may not be there

# A description cannot say which names and which pictures there are, so what it allows may still be refused.
TOO_STRICT = [schemathesis.checks.positive_data_acceptance]
ALLOWED, FORBIDDEN = schemathesis.GenerationMode
POSTS = [f"POST /v1/{path}" for path in ("predict", "imagine", "classes")]
OTHERS = ["GET /v1/classes", "GET /v1/classes/{name}", "DELETE /v1/classes/{name}", "GET /healthz", "GET /metrics"]
made = pytest.mark.parametrize(
    ("operation", "mode"),
    [*((name, ALLOWED) for name in POSTS + OTHERS), *((name, FORBIDDEN) for name in POSTS)],
)


@pytest.fixture(scope="module")
def schema():
    app = make_app(worded(beside=2, method=Painter()), Limits(body=2**18, pixels=10**6, classes=5))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


def check(schema, name, mode, n):
    """No server error; statuses, types and shapes are as described; what the description forbids is refused."""
    operations = {one.ok().label: one.ok() for one in schema.get_all_operations()}
    assert set(operations) == {*POSTS, *OTHERS}

    @settings(max_examples=n, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operations[name].as_strategy(generation_mode=mode))
    def conforms(case):
        # a form and a query send the entries of a list one by one: a forbidden [5] would arrive as an allowed 5
        fields = [case.query, case.body if case.media_type == "multipart/form-data" else None]
        assume(not any(isinstance(value, list) for one in fields if isinstance(one, dict) for value in one.values()))
        case.call_and_validate(excluded_checks=TOO_STRICT)

    conforms()


@made
def test_requests_from_the_description(schema, operation, mode):
    check(schema, operation, mode, 8)


@pytest.mark.slow
@made
def test_very_many_requests_from_the_description(schema, operation, mode):
    check(schema, operation, mode, 200)
