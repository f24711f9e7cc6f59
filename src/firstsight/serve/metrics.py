"""Counts and times, in the text format that Prometheus reads."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Histogram:
    """How often a value was at most each of some bounds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """One more value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str, labels: Mapping[str, str]) -> Iterable[str]:
        """The lines of one histogram, whose counts add up."""
        so_far = 0
        for bound, count in zip((*map(_number, self.bounds), "+Inf"), self.counts, strict=True):
            so_far += count
            yield f"{name}_bucket{_braces({**labels, 'le': bound})} {so_far}"
        yield f"{name}_sum{_braces(labels)} {_number(self.total)}"
        yield f"{name}_count{_braces(labels)} {so_far}"


class Metrics:
    """What happened since the server started; batches are added by their own thread, all else by the event loop's."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], int] = defaultdict(int)
        self.seconds: dict[str, Histogram] = defaultdict(lambda: Histogram(SECONDS))
        self.batches = Histogram(SIZES)
        self.remembered = 0
        self.drawn = 0

    def answered(self, path: str, status: int, seconds: float) -> None:
        """One more request; `path` is a route's, so that there are few."""
        self.requests[path, status] += 1
        self.seconds[path].add(seconds)

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """All of it.

        Args:
            gauges: name to (what it is, value), of what is now.
        """
        lines = _head("firstsight_requests_total", "counter", "Requests by route and status.")
        for (path, status), count in sorted(self.requests.items()):
            lines.append(f"firstsight_requests_total{_braces({'path': path, 'status': str(status)})} {count}")
        lines += _head("firstsight_request_seconds", "histogram", "From the first byte to the answer, by route.")
        for path, histogram in sorted(self.seconds.items()):
            lines += histogram.lines("firstsight_request_seconds", {"path": path})
        lines += _head("firstsight_batch_size", "histogram", "Pictures that went through the backbone together.")
        lines += self.batches.lines("firstsight_batch_size", {})
        lines += _head("firstsight_remembered_total", "counter", "Questions answered from features that were kept.")
        lines.append(f"firstsight_remembered_total {self.remembered}")
        lines += _head("firstsight_drawn_total", "counter", "Pictures drawn.")
        lines.append(f"firstsight_drawn_total {self.drawn}")
        for name, (what, value) in gauges.items():
            lines += [*_head(name, "gauge", what), f"{name} {_number(value)}"]
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, what: str) -> list[str]:
    return [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]


def _braces(labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{inside}}}" if inside else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() else repr(value)
