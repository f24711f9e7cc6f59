"""Run all speed measurements, or those named: `python -m speed [curve] [eszsl] ...`.

Each measures firstsight and another way beside it, in one run, and prints medians and their ratio.
"""

import importlib
import os
import pkgutil
import statistics
import sys
import time
from collections.abc import Callable

import torch

import speed


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    work()  # warm up
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    known = [module.name for module in pkgutil.iter_modules(speed.__path__) if module.name != "__main__"]
    chosen = sys.argv[1:] or known
    if wrong := set(chosen) - set(known):
        sys.exit(f"names must be among {', '.join(known)}; got {', '.join(sorted(wrong))}")
    print(f"{os.cpu_count()} cores, torch {torch.__version__} with {torch.get_num_threads()} threads")
    for name in chosen:
        module = importlib.import_module(f"speed.{name}")
        print(f"\n{module.__doc__.splitlines()[0]}")
        for case in module.cases():
            ours = median_seconds(case.ours, case.repeats)
            other = case.times * median_seconds(case.other, case.repeats)
            part = "" if case.times == 1 else f"   (1/{case.times:g} of it measured)"
            print(f"  {case.name:<52} {ours:9.3f} s   other {other:9.3f} s   {other / ours:7.1f}x{part}", flush=True)


if __name__ == "__main__":
    main()
