"""What one request, and all of them together, may cost."""

from __future__ import annotations

from dataclasses import dataclass

from firstsight.errors import InputError


@dataclass(frozen=True)
class Limits:
    """Bounds beyond which a request is refused before it costs anything.

    Attributes:
        body: bytes of a request.
        pixels: of a picture, read from its head before it is decoded.
        at_once: requests that are worked on side by side.
        queue: requests that may wait beyond them; the next is told to come back.
        timeout: seconds in which a request must have arrived and been answered.
        batch: pictures that go through the backbone together.
        wait: seconds a picture waits for others to share its batch.
        classes: that can be added.
        remembered: pictures whose features are kept, so that the next question about them needs no picture.
    """

    body: int = 16 * 2**20
    pixels: int = 50_000_000
    at_once: int = 32
    queue: int = 64
    timeout: float = 30.0
    batch: int = 16
    wait: float = 0.005
    classes: int = 1000
    remembered: int = 1024

    def __post_init__(self) -> None:
        for name in ("body", "pixels", "at_once", "batch", "remembered"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be 1 or more; got {getattr(self, name)}")
        for name in ("queue", "wait", "classes"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must be 0 or more; got {getattr(self, name)}")
        if not self.timeout > 0:
            raise InputError(f"timeout must be above 0 seconds; got {self.timeout}")
