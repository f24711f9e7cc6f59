"""`firstsight bench`: run methods on data sets with several seeds."""

from __future__ import annotations

from pathlib import Path

from firstsight.cli.options import FileOptions, as_json, at_least_one
from firstsight.errors import InputError


def bench(
    data: tuple[str, ...],
    methods: tuple[str, ...],
    out: Path,
    files: FileOptions,
    seeds: int = 3,
    semantics: tuple[str, ...] = (),
    settings: Path | None = None,
    calibrate: bool = True,
    jobs: int = 1,
    json: bool = False,
) -> None:
    """Run methods on data sets with several seeds; finished runs are kept.

    Args:
        data: folders in the GBU layout or of pictures, or `atlas`.
        methods: names, with an optional preset after a colon, as in `eszsl spaen spaen:cls-only`; or `all`.
        out: folder of the results.
        seeds: number of seeds, from 0 on; methods without randomness run once.
        files: files to read from every folder.
        semantics: class embeddings of every folder: `att`, `sent`, ..., `text`, `attributes+text`; each folder is run
            with each of them.
        settings: TOML file that `tune` wrote; used for the methods without a preset.
        calibrate: leave out the choice of gamma on validation classes, which trains the same settings a second time.
        jobs: number of parallel runs, each in its own process; they share the cores.
        json: print one JSON document with a row per run.
    """
    from firstsight.bench.bench import Bench, make_method, row
    from firstsight.methods import all_names
    from firstsight.progress import Display
    from firstsight.tuning.settings_file import read_settings

    at_least_one(data=len(data), methods=len(methods), seeds=seeds, jobs=jobs)
    tuned = read_settings(settings) if settings else {}
    specs = all_names() if methods == ("all",) else methods
    made = {spec: make_method(spec) for spec in specs}
    with Display() as display:
        datasets = files.load_all(data, semantics or (None,), display)
        runs = Bench(datasets, made, range(seeds), calibrate, tuned).run(out, display, jobs)
    failed = sum(run.error is not None for run in runs)
    if json:
        print(as_json({"rows": [row(run) for run in runs]}))
    else:
        print(f"{len(runs)} runs are in {out}; `firstsight report {out} --out report.html` shows them")
    if failed:
        raise InputError(f"runs must finish; got {failed} of {len(runs)} failed; the same command tries them again")
