"""Settings chosen on validation classes. Test images are not there to look at.

Each partition holds some seen classes out as if they were unseen, and some images of the other classes as seen test
images (`Dataset.validation_set`). The settings with the best mean over the partitions win. Methods whose fits share
their work try every combination of their `space`. The others go through Optuna (Akiba et al., KDD 2019), which
proposes settings and gives up early on those that lag behind after the first partition; a study is kept in a
database, so it can be continued, or shared by several machines.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from firstsight.data import Dataset
from firstsight.errors import InputError
from firstsight.evaluation.metrics import class_accuracies, curve_of, harmonic_mean, leads
from firstsight.methods import Method, Span
from firstsight.progress import Progress, StageProgress

if TYPE_CHECKING:
    import optuna

OBJECTIVES = ("ausuc", "h", "h_cal", "t1")
Space = Mapping[str, Any]
N_UNPRUNED = 2  # trials that see every partition whatever they reach
KEPT = 25.0  # percent of trials, the best after each partition, that go on to the next


@dataclass(frozen=True)
class Trial:
    """One choice of settings and what it reached on validation partitions; given up where it has not seen them all."""

    settings: Mapping[str, Any]
    values: tuple[float, ...]
    given_up: bool = False

    @property
    def mean(self) -> float:
        """Over the partitions it has seen."""
        return sum(self.values) / len(self.values) if self.values else -math.inf


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
    """Try settings on validation classes.

    Args:
        method: the settings that the space does not name; the first trial where fits share nothing.
        data: `Dataset.without_test()` of a data set; one with test images is refused.
        space: choices, or a `Span` of numbers, by setting; the method's own `space` where None.
        objective: what to maximise, one of ausuc, h, h_cal (h at the best gamma), t1; the method's own where None.
        partitions: how many sets of classes to hold out; the benchmark's own first, then random ones.
        trials: settings to try; the method's own number where None. Methods whose fits share their work try all.
        storage: URL of the database that keeps the study, such as sqlite:///study.db; in memory where None.
        progress: called with (trials or fits done, in all, the best mean so far by the objective's name).

    Returns:
        all trials, the best first, those given up last.
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
    report = progress or (lambda *_: None)
    if method.shares_fits and is_finite(space):
        found = _whole_grid(method, data, space, objective, partitions, report)
    else:
        found = _study(method, data, space, objective, partitions, trials or method.search.trials, storage, report)
    return sorted(found, key=lambda trial: (trial.given_up, -trial.mean))


def tune_job(
    method: Method,
    data: Dataset,
    objective: str,
    partitions: int,
    trials: int | None,
    storage: str,
    reports: Progress,
) -> list[Trial]:
    """`tune` as work for `run_jobs`."""
    progress = partial(reports, f"tune {method.name} on {data.name}")
    return tune(method, data, None, objective, partitions, trials, storage, progress)


def is_finite(space: Space) -> bool:
    """Whether all settings have choices, none a span."""
    return not any(isinstance(values, Span) for values in space.values())


def combinations(method: Method, space: Space) -> Iterator[Method]:
    """The method with every combination of the choices; as it is where the space is empty."""
    for values in itertools.product(*space.values()):
        yield replace(method, **dict(zip(space, values, strict=True)))


def key(method: Method) -> str:
    """The settings as a text that can be looked up."""
    return json.dumps(method.settings(), sort_keys=True)


def _whole_grid(
    method: Method, data: Dataset, space: Space, objective: str, partitions: int, progress: StageProgress
) -> list[Trial]:
    """Every combination, fitted together."""
    variants = list(combinations(method, space))
    values: dict[str, list[float]] = {key(variant): [] for variant in variants}
    total, done = len(variants) * partitions, 0
    for partition in range(partitions):
        validation = data.validation_set(partition)
        best = 0.0
        for fitted in type(method).fit_each([variant.unfitted() for variant in variants], validation.training_set()):
            value = _value(fitted, validation, objective)
            values[key(fitted)].append(value)
            best, done = max(best, value), done + 1
            progress(done, total, {f"best {objective}": best})
    return [Trial(variant.settings(), tuple(values[key(variant)])) for variant in variants]


def _value(fitted: Method, validation: Dataset, objective: str) -> float:
    """The objective alone, from one scoring; the same number as in `evaluate`'s `Result`."""
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


def _study(
    method: Method,
    data: Dataset,
    space: Space,
    objective: str,
    partitions: int,
    trials: int,
    storage: str | None,
    progress: StageProgress,
) -> list[Trial]:
    """Settings that Optuna proposes, or where all have choices, a random order of the combinations."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    states = optuna.trial.TrialState
    start = {name: method.settings()[name] for name in space}
    space = {name: including(values, start[name]) for name, values in space.items()}
    study = _opened(method, data, space, objective, partitions, storage)
    points = [start]
    if is_finite(space):
        others = [{name: other.settings()[name] for name in space} for other in combinations(method, space)]
        random.Random(method.seed).shuffle(others)
        points += [point for point in others if point != start]
        trials = min(trials, len(points))
    alone = storage is None or storage.startswith("sqlite")  # so what is still running there was killed
    known = [one.system_attrs.get("fixed_params", one.params) for one in study.get_trials() if one.state != states.FAIL]
    if alone:
        for one in study.get_trials(states=[states.RUNNING]):
            study.tell(one.number, state=states.FAIL)
            known.remove(one.system_attrs.get("fixed_params", one.params))
    for point in points[:trials]:
        if point not in known:
            study.enqueue_trial(point)
    distributions = {name: _distribution(values) for name, values in space.items()}
    finished = (states.COMPLETE, states.PRUNED)
    while (done := len(study.get_trials(deepcopy=False, states=finished))) < trials:
        trial = study.ask(distributions)
        try:
            _attempt(study, trial, replace(method, **trial.params), data, objective, partitions)
        except BaseException:
            study.tell(trial, state=states.FAIL)
            raise
        reached = [one.value for one in study.get_trials(deepcopy=False, states=[states.COMPLETE])]
        progress(done + 1, trials, {f"best {objective}": max(filter(None, reached), default=0.0)})
    found = study.get_trials(states=finished)
    if not any(one.state == states.COMPLETE for one in found):
        raise InputError(str(found[0].user_attrs["error"]))
    return [
        Trial(
            replace(method, **one.params).settings(),
            tuple(one.user_attrs["values"]),
            given_up=one.state == states.PRUNED,
        )
        for one in found
    ]


def including(values: Any, start: Any) -> Any:
    """The choices or the span, with a value that must be possible too."""
    if isinstance(values, Span):
        return replace(values, low=min(values.low, start or values.low), high=max(values.high, start))
    return tuple(values) if start in values else (*values, start)


def open_storage(storage: str | None) -> optuna.storages.BaseStorage:
    """The database of this URL, made where there is none; two processes must not make it at once."""
    import optuna
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return optuna.storages.get_storage(storage)
    except (ImportError, ValueError, StorageInternalError, SQLAlchemyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"storage must be the URL of a database; got {storage!r}: {reason}") from error


def _opened(
    method: Method, data: Dataset, space: Space, objective: str, partitions: int, storage: str | None
) -> optuna.Study:
    """The study of exactly this question: another method, data set or space has another."""
    import optuna

    question = (key(method), {name: repr(values) for name, values in space.items()}, partitions, data.fingerprint)
    digest = hashlib.sha256(repr(question).encode()).hexdigest()[:12]
    study = optuna.create_study(
        storage=open_storage(storage),
        study_name=f"{data.name} {method.name} {objective} {digest}",
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


def _attempt(
    study: optuna.Study, trial: optuna.Trial, method: Method, data: Dataset, objective: str, partitions: int
) -> None:
    """Fit on one partition after the other, until the trial lags behind or cannot go on."""
    import optuna

    values: list[float] = []
    trial.set_user_attr("values", values)
    for partition in range(partitions):
        validation = data.validation_set(partition)
        try:
            values.append(_value(method.unfitted().fit(validation.training_set()), validation, objective))
        except InputError as error:  # a training that blows up, say
            trial.set_user_attr("error", str(error))
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return
        trial.set_user_attr("values", values)
        trial.report(sum(values) / len(values), partition)
        if partition < partitions - 1 and trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return
    study.tell(trial, sum(values) / len(values))
