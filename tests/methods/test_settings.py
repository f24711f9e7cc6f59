"""The law of settings, over all methods: another value of a setting gives other tensors or other scores.

A setting that is read nowhere, or is overwritten on the way, fails here. The settings are found in the dataclasses, so
a new one is held to the law at once. It needs an entry in `UNDER` where it acts under other settings than those of
`FAST`, or in `OTHER` where twice its value is none; those that leave results alike are in `ALIKE`, with the reason.
"""

import dataclasses
from functools import cache
from itertools import combinations, product
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch

from firstsight.methods import METHODS, loop, spaen_pictures
from firstsight.methods.abilities import needs_pictures
from firstsight.methods.spaen_pictures.networks import perceptual_network
from firstsight.pictures.decode import stored_side
from tests.support.tiny import FAST, tiny_dataset, widths

PICTURES, BOTH = "spaen-pictures", ("spaen", "spaen-pictures")
A_FILE = "needs a file of weights, which test_pretrained.py has"
ALIKE = {  # (method, setting): why results stay; * is every method
    ("*", "device"): "the same numbers on every device, but for rounding",
    (PICTURES, "accumulate"): "memory shrinks, results stay; test_steps.py",
    (PICTURES, "compile"): "speed alone",
    (PICTURES, "freeze_encoder"): A_FILE,
    (PICTURES, "freeze_generator"): A_FILE,
    (PICTURES, "generator_file"): A_FILE,
    (PICTURES, "pretrained"): A_FILE,
    (PICTURES, "reconstruction"): "F and G work on pictures, not on features",
    (PICTURES, "reconstruction_scaling"): "F and G work on pictures, not on features",
} | {(name, "seed"): "nothing is random" for name, kind in METHODS.items() if not kind.is_random}
SAME = {  # (method, setting): pairs of choices that give the same numbers
    ("clip", "scaling"): ({"none", "l2"}, {"standard", "standard-l2"}),  # scores are cosines
    ("clip", "class_scaling"): ({"none", "l2"},),
}
SCHEDULES = ({"schedule": "joint"}, {"schedule": "two-stage"})
FORMS = dict.fromkeys(BOTH, SCHEDULES)  # settings under each of which every setting must act
ONLY = {  # settings that have no effect in one of the forms
    "autoencoder_epochs": {"schedule": "two-stage"},
    "schedule": {},
}
UNDER: dict[str, list[dict[str, Any]]] = {  # setting: settings under each of which it acts, where the method has these
    "alpha": [{}, {"variant": "sae-image"}, {"variant": "split-branch"}],
    "classification_weight": [{}, {"variant": "sae-image"}, {"variant": "split-branch"}],
    "margin": [{"classification": "ranking"}],
    "negatives": [{"classification": "ranking"}],
    "encoder_output": [{"seed": 1}],  # with seed 0, F's codes are all positive on pictures
    "decay": [{"patience": 1, "epochs": 2.0}],
    "patience": [{"decay": "plateau", "patience": 1, "epochs": 2.0}],
    "weight_decay": [{}, {"weight_decay_form": "loss"}],
    "weight_decay_form": [{"weight_decay": 0.5}],
    "clip_each": [{"classification_weight": 1e4, "beta": 0.0}, {"critic_weight": 1e4}],  # for E, for D
    "clip": [{"lipschitz": "clip"}],
    "backbone_rate": [{"end_to_end": "compact"}],
    "neighbours": [{"novelty": "loop"}],
    "n_top": [{"n_top": 2}],
    "steps": [{"steps": 5}],
}
OTHER: dict[str, Any] = {  # setting: another value, where not twice the one it has, or one more
    "penalty": 1.0,
    "dropout": 0.25,
    "width": 1 / 32,
    "side": 64,
    "end_to_end": "compact",
    "autoencoder_beta1": 0.5,
    "critic_weight": 1e4,  # Adam divides a factor out again, but for the clipped length of gradients
}


def cases():
    """List (method, setting, the settings under which it must act) of all that the law holds for."""
    for name, kind in METHODS.items():
        for setting in (field.name for field in dataclasses.fields(kind)):
            if {("*", setting), (name, setting)} & ALIKE.keys():
                continue
            forms = FORMS.get(name, ({},))
            if name in FORMS and setting in ONLY:
                forms = (ONLY[setting],)
            for form, under in product(forms, UNDER.get(setting, [{}])):
                # a method that lacks some of them is held to the law once, under the rest of the first ones
                if all(hasattr(kind, other) for other in under) or under == UNDER[setting][0]:
                    settings = form | {other: value for other, value in under.items() if hasattr(kind, other)}
                    yield pytest.param(name, setting, settings, id=f"{name}-{setting}-{shown(settings)}")


def shown(settings: dict[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in settings.items())


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Let `plateau` look at every step, and phi have random weights; for all of this file, as fits are kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "PERIOD", 1)
        patch.setattr(spaen_pictures, "phi_of", lambda settings, _: perceptual_network(settings.side, settings.width))
        yield


@cache
def learned(name: str, **settings) -> dict[str, torch.Tensor]:
    """Return every tensor that a tiny fit learns, and its scores."""
    kind = METHODS[name]
    method = kind(**settings)
    sizes = {"side": stored_side(method.side)} if needs_pictures(kind) else {"w": 5}
    data = tiny_dataset(**widths(name) | sizes)
    method.fit(data.training_set())
    if needs_pictures(kind):
        data = method.with_features(data)
    return method.state() | {"scores": torch.tensor(method.scores(data.features, data.classes))}


def are_alike(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Tell whether all tensors are there in both, with the same numbers but for rounding."""
    if {key: tensor.shape for key, tensor in one.items()} != {key: tensor.shape for key, tensor in other.items()}:
        return False
    pairs = ((tensor.double(), other[key].double()) for key, tensor in one.items())
    return all(torch.allclose(*pair, rtol=1e-4, atol=1e-6) for pair in pairs)


def values_of(kind, setting: str, now: Any) -> list[Any]:
    """List values of a setting that must all differ in effect: its choices, or the one it has and another."""
    hint = get_type_hints(kind)[setting]
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    if setting in OTHER:
        return [now, OTHER[setting]]
    if hint is bool:
        return [False, True]
    assert hint in (int, float), f"{setting} of {kind.name} is {hint}: OTHER must have another value of it"
    return [now, now + 1 if hint is int else 2 * now or 0.5]


@pytest.mark.parametrize(("name", "setting", "under"), [*cases()])
def test_every_setting_changes_what_is_learned(name, setting, under):
    kind = METHODS[name]
    base = FAST.get(name, {}) | {"device": "cpu"} | under
    values = values_of(kind, setting, getattr(kind(**base), setting))
    for one, other in combinations(values, 2):
        alike = are_alike(*(learned(name, **base | {setting: value}) for value in (one, other)))
        expected = {one, other} in SAME.get((name, setting), ())
        assert alike == expected, f"{setting} {one!r} and {other!r} {'agree' if alike else 'differ'} under {base}"


@pytest.mark.parametrize("name", [name for name, kind in METHODS.items() if not kind.is_random])
def test_a_method_without_randomness_learns_the_same_with_every_seed(name):
    found = [learned(name, **FAST.get(name, {}) | {"device": "cpu", "seed": seed}) for seed in (0, 1)]
    assert are_alike(*found)


def test_the_lists_name_settings_that_there_are():
    fields = {name: {field.name for field in dataclasses.fields(kind)} for name, kind in METHODS.items()}
    everywhere = set.union(*fields.values())
    assert all(setting in (everywhere if name == "*" else fields[name]) for name, setting in (*ALIKE, *SAME))
    assert {*UNDER, *OTHER, *ONLY} <= everywhere
