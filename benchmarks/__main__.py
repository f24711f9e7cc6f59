"""Run every benchmark, or those named: `python -m benchmarks [curve] [eszsl] [spaen]`.

Each measures our way and another beside it, in one run, and prints medians and their ratio.
"""

import importlib
import os
import pkgutil
import statistics
import sys
import time
from collections.abc import Callable

import torch

import benchmarks


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    work()  # warm up
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    known = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name != "__main__"]
    chosen = sys.argv[1:] or known
    if wrong := set(chosen) - set(known):
        sys.exit(f"benchmarks must be among {', '.join(known)}; got {', '.join(sorted(wrong))}")
    print(f"{os.cpu_count()} cores, torch {torch.__version__} with {torch.get_num_threads()} threads")
    for name in chosen:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"\n{module.__doc__.splitlines()[0]}")
        for case, ours, other, repeats in module.cases():
            a, b = median_seconds(ours, repeats), median_seconds(other, repeats)
            print(f"  {case:<64} {a * 1e3:9.1f} ms   other {b * 1e3:9.1f} ms   {b / a:7.1f}x", flush=True)


if __name__ == "__main__":
    main()
