"""What one request, and all of them together, may cost."""

from __future__ import annotations

from dataclasses import dataclass

from firstsight.errors import InputError


@dataclass(frozen=True)
class Limits:
    """Bounds beyond which a request is refused before it costs anything."""

    body: int = 16 * 2**20  # bytes of a request
    pixels: int = 50_000_000  # of a picture, read from its head before it is decoded
    at_once: int = 32  # requests that are worked on side by side
    queue: int = 64  # requests that may wait beyond them; the next is told to come back
    timeout: float = 30.0  # seconds in which a request must have arrived and been answered
    batch: int = 16  # pictures that go through the backbone together
    wait: float = 0.005  # seconds a picture waits for others to share its batch
    classes: int = 1000  # that can be added
    remembered: int = 1024  # pictures whose features are kept, so that the next question about them needs no picture

    def __post_init__(self) -> None:
        for name in ("body", "pixels", "at_once", "batch", "remembered"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be 1 or more; got {getattr(self, name)}")
        for name in ("queue", "wait", "classes"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must be 0 or more; got {getattr(self, name)}")
        if not self.timeout > 0:
            raise InputError(f"timeout must be above 0 seconds; got {self.timeout}")
