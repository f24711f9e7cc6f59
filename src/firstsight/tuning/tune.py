"""Choice of settings on validation classes; test images are never available to it.

Each partition holds out some seen classes as if they were unseen, and some images of the other classes as seen test
images (`Dataset.validation_set`). The settings with the highest mean over the partitions win. Methods whose fits share
work try every combination of their `space`. For the others Optuna (Akiba et al., KDD 2019) proposes settings and stops
early those that are behind after the first partition. A study is kept in a database, so it can be continued, or shared
by several machines.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from firstsight.data import Dataset
from firstsight.errors import InputError
from firstsight.evaluation.metrics import class_accuracies, curve_of, harmonic_mean, leads
from firstsight.methods import Method, Span
from firstsight.methods.abilities import with_own_features
from firstsight.progress import Progress, StageProgress

if TYPE_CHECKING:
    import optuna

OBJECTIVES = ("ausuc", "h", "h_cal", "t1")
Space = Mapping[str, Any]
N_UNPRUNED = 2  # first trials, which are never stopped early
KEEP_EVERY = 5.0  # seconds between two times that the values of fits that share their work are written
VALUES = "values"  # how the names of a study's attributes begin that hold them
KEPT = 25.0  # percent of trials, the best ones, that are continued after a partition


@dataclass(frozen=True)
class Trial:
    """One choice of settings and its values on validation partitions; given up if stopped before the last one."""

    settings: Mapping[str, Any]
    values: tuple[float, ...]
    given_up: bool = False

    @property
    def mean(self) -> float:
        """Return the mean over the partitions that were tried."""
        return sum(self.values) / len(self.values) if self.values else -math.inf


@dataclass(frozen=True, eq=False)
class Search:
    """Settings to try for a method, by their value on validation partitions of the data; as in `tune`."""

    method: Method
    data: Dataset
    space: Space
    objective: str
    partitions: int
    report: StageProgress


def tune(
    method: Method,
    data: Dataset,
    space: Space | None = None,
    objective: str | None = None,
    partitions: int = 3,
    trials: int | None = None,
    storage: str | None = None,
    progress: StageProgress | None = None,
) -> list[Trial]:
    """Try settings on validation classes and return all trials, the best first, those given up last.

    Args:
        method: gives the settings that the space does not name; it is also the first trial if fits share no work.
        data: `Dataset.without_test()` of a data set; one with test images is refused.
        space: choices, or a `Span` of numbers, by setting; the method's own `space` if None.
        objective: what to maximise, one of ausuc, h, h_cal (h at the best gamma), t1; the method's own if None.
        partitions: number of sets of classes to hold out; the benchmark's own first, then random ones.
        trials: number of settings to try; the method's own number if None. Methods whose fits share work try all.
        storage: URL of the database that keeps the study, such as sqlite:///study.db; in memory if None.
        progress: called with (trials or fits done, total, the best value so far by the objective's name).
    """
    if len(data.test_seen) or len(data.test_unseen):
        raise InputError(
            f"data must be without test images for tuning; got {len(data.test_seen) + len(data.test_unseen)}; "
            "call without_test()"
        )
    objective = objective or method.search.objective
    if objective not in OBJECTIVES:
        raise InputError(f"objective must be one of {', '.join(OBJECTIVES)}; got {objective!r}")
    if objective == "t1" and method.generalized_only:
        raise InputError(f"objective must be ausuc, h or h_cal for {method.name}, which has no t1; got 't1'")
    for what, count in (("partitions", partitions), ("trials", trials)):
        if count is not None and count < 1:
            raise InputError(f"{what} must be 1 or more; got {count}")
    space = method.search.space if space is None else space
    if unknown := next((name for name in space if name not in method.settings()), None):
        raise InputError(f"space must name settings of {method.name}; got {unknown!r}")
    search = Search(method, data, space, objective, partitions, progress or (lambda *_: None))
    if method.shares_fits and is_finite(space):
        found = _try_all(search, storage)
    else:
        found = _propose(search, trials or method.search.trials, storage)
    return sorted(found, key=lambda trial: (trial.given_up, -trial.mean))


def tune_job(method: Method, data: Dataset, options: Mapping[str, Any], reports: Progress) -> list[Trial]:
    """Do as `tune` with these options, as work for `run_jobs`."""
    return tune(method, data, **options, progress=partial(reports, f"tune {method.name} on {data.name}"))


def is_finite(space: Space) -> bool:
    """Tell whether every setting has a list of choices, and none a span."""
    return not any(isinstance(values, Span) for values in space.values())


def combinations(method: Method, space: Space) -> Iterator[Method]:
    """Yield the method with every combination of the choices, or as it is if the space is empty."""
    for values in itertools.product(*space.values()):
        yield replace(method, **dict(zip(space, values, strict=True)))


def key(method: Method) -> str:
    """Return the settings as a text that serves as a key."""
    return json.dumps(method.settings(), sort_keys=True)


def _try_all(search: Search, storage: str | None) -> list[Trial]:
    """Fit every combination; fits share their work, and those that a stopped call has made are not made again."""
    variants = list(combinations(search.method, search.space))
    kept = _Kept(search, storage)
    total, done = len(variants) * search.partitions, 0
    for partition in range(search.partitions):
        validation = search.data.validation_set(partition)
        places = [_place(partition, variant) for variant in variants]
        best = max((kept.values[place] for place in places if place in kept.values), default=0.0)
        unfitted = [variant.unfitted() for variant in variants if _place(partition, variant) not in kept.values]
        done += len(variants) - len(unfitted)
        for fitted in type(search.method).fit_each(unfitted, validation.training_set()):
            value = _value(fitted, validation, search.objective)
            kept.add(_place(partition, fitted), value)
            best, done = max(best, value), done + 1
            search.report(done, total, {f"best {search.objective}": best})
    kept.write()
    numbers = range(search.partitions)
    return [
        Trial(variant.settings(), tuple(kept.values[_place(number, variant)] for number in numbers))
        for variant in variants
    ]


def _place(partition: int, method: Method) -> str:
    """Return the key of the value of a method's settings on a partition."""
    return f"{partition} {key(method)}"


class _Kept:
    """Values of fits that share their work, kept in the study every few seconds; in memory alone without storage."""

    def __init__(self, search: Search, storage: str | None) -> None:
        self.values: dict[str, float] = {}
        self._new: dict[str, float] = {}
        self._search, self._storage, self._written = search, storage, time.monotonic()
        self._study: optuna.Study | None = None
        if storage is not None:
            self._study = _open_study(search, storage)
            for name, values in self._study.user_attrs.items():
                self.values |= values if name.startswith(VALUES) else {}

    def add(self, place: str, value: float) -> None:
        """Note a value; write what is new where the last time is a while ago."""
        self.values[place] = self._new[place] = value
        if time.monotonic() - self._written > KEEP_EVERY:
            self.write()

    def write(self) -> None:
        """Write what is new."""
        if self._study is not None and self._new:
            self._study.set_user_attr(f"{VALUES} {len(self._study.user_attrs)}", self._new)
        self._new, self._written = {}, time.monotonic()


def _value(fitted: Method, validation: Dataset, objective: str) -> float:
    """Compute the objective alone, scoring once; the number equals the one in the `Result` of `evaluate`."""
    validation = with_own_features(fitted, validation)
    tests = validation.test_images
    labels = validation.labels[tests]
    is_seen = validation.is_seen
    lead, right = leads(fitted.scores(validation.inputs(tests), validation.classes), labels, is_seen)
    if objective == "t1":
        unseen = ~is_seen[labels]
        alone = class_accuracies(np.where(right, labels, -1)[unseen], labels[unseen], len(is_seen))
        return float(np.nanmean(alone))
    curve = curve_of(lead, right, labels, is_seen)
    if objective == "h":
        return float(harmonic_mean(*curve.at(0.0)))
    return curve.area if objective == "ausuc" else curve.best[1]


def _propose(search: Search, trials: int, storage: str | None) -> list[Trial]:
    """Try settings that Optuna proposes, or a random order of the combinations if all settings have choices."""
    import optuna

    states = optuna.trial.TrialState
    method = search.method
    start = {name: method.settings()[name] for name in search.space}
    space = {name: _include(values, start[name]) for name, values in search.space.items()}
    search = replace(search, space=space)
    study = _open_study(search, storage)
    points = [start]
    if is_finite(space):
        others = [{name: other.settings()[name] for name in space} for other in combinations(method, space)]
        random.Random(method.seed).shuffle(others)
        points += [point for point in others if point != start]
        trials = min(trials, len(points))
    if storage is None or storage.startswith("sqlite"):  # one process at a time: trials marked as running were killed
        for one in study.get_trials(states=[states.RUNNING]):
            study.tell(one.number, state=states.FAIL)
    _enqueue(study, points[:trials])
    distributions = {name: _distribution(values) for name, values in space.items()}
    finished = (states.COMPLETE, states.PRUNED)
    while (done := len(study.get_trials(deepcopy=False, states=finished))) < trials:
        trial = study.ask(distributions)
        try:
            _run_trial(study, trial, search)
        except BaseException:
            study.tell(trial, state=states.FAIL)
            raise
        reached = [one.value for one in study.get_trials(deepcopy=False, states=[states.COMPLETE])]
        search.report(done + 1, trials, {f"best {search.objective}": max(filter(None, reached), default=0.0)})
    found = study.get_trials(states=finished)
    if not any(one.state == states.COMPLETE for one in found):
        raise InputError(str(found[0].user_attrs["error"]))
    return [
        Trial(replace(method, **one.params).settings(), tuple(one.user_attrs["values"]), one.state == states.PRUNED)
        for one in found
    ]


def _enqueue(study: optuna.Study, points: list[dict[str, Any]]) -> None:
    """Add settings to the queue of a study, unless a trial that has not failed has them."""
    valid = [one for one in study.get_trials() if one.state.name != "FAIL"]
    known = [one.system_attrs.get("fixed_params", one.params) for one in valid]
    for point in points:
        if point not in known:
            study.enqueue_trial(point)


def _include(values: Any, start: Any) -> Any:
    """Add a value to a list of choices or to a span."""
    if isinstance(values, Span):
        return replace(values, low=min(values.low, start or values.low), high=max(values.high, start))
    return tuple(values) if start in values else (*values, start)


def open_storage(storage: str | None) -> optuna.storages.BaseStorage:
    """Open the database at this URL, made if needed; two processes must not make it at the same time."""
    import optuna
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return optuna.storages.get_storage(storage)
    except (ImportError, ValueError, StorageInternalError, SQLAlchemyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"storage must be the URL of a database; got {storage!r}: {reason}") from error


def _open_study(search: Search, storage: str | None) -> optuna.Study:
    """Open the study of exactly these inputs; another method, data set or space has another study."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    method, data = search.method, search.data
    space = {name: repr(values) for name, values in search.space.items()}
    inputs = (key(method), space, search.partitions, data.fingerprint)
    digest = hashlib.sha256(repr(inputs).encode()).hexdigest()[:12]
    study = optuna.create_study(
        storage=open_storage(storage),
        study_name=f"{data.name} {method.name} {search.objective} {digest}",
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.PercentilePruner(KEPT, n_startup_trials=N_UNPRUNED),
    )
    study.sampler = optuna.samplers.TPESampler(n_startup_trials=4, seed=method.seed + len(study.trials))
    return study


def _distribution(values: Any) -> optuna.distributions.BaseDistribution:
    import optuna

    if not isinstance(values, Span):
        return optuna.distributions.CategoricalDistribution(list(values))
    if isinstance(values.low, int):
        return optuna.distributions.IntDistribution(values.low, int(values.high), log=True)
    return optuna.distributions.FloatDistribution(values.low, values.high, log=True)


def _run_trial(study: optuna.Study, trial: optuna.Trial, search: Search) -> None:
    """Fit on one partition after the other, until the trial is stopped early or fails."""
    import optuna

    method = replace(search.method, **trial.params)
    values: list[float] = []
    trial.set_user_attr("values", values)
    for partition in range(search.partitions):
        validation = search.data.validation_set(partition)
        try:
            values.append(_value(method.unfitted().fit(validation.training_set()), validation, search.objective))
        except InputError as error:  # such as a training that diverges
            trial.set_user_attr("error", str(error))
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return
        trial.set_user_attr("values", values)
        trial.report(sum(values) / len(values), partition)
        if partition < search.partitions - 1 and trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return
    study.tell(trial, sum(values) / len(values))
