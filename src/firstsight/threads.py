"""Threads that work ahead of whoever takes what they make, such as pictures that are decoded and shrunk."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def side_by_side(work: Callable[[Item], Made], items: Iterable[Item], ahead: int) -> Generator[Made, None, None]:
    """What work makes of each item, in order, made by threads up to `ahead` items before it is asked for."""
    queue: deque[Future[Made]] = deque()
    coming = iter(items)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1), "ahead") as pool:
        try:
            queue.extend(pool.submit(work, item) for item in islice(coming, max(1, ahead)))
            while queue:
                made = queue.popleft().result()
                queue.extend(pool.submit(work, item) for item in islice(coming, 1))
                yield made
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
