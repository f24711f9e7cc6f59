"""The training loop: learning rates, reports, seeds, descent and checkpoints, on a network of two numbers."""

import math
import os
import signal

import pytest
import torch
from torch import nn

from firstsight.errors import InputError
from firstsight.methods import FitControls, loop
from firstsight.methods.distributed import Ranks
from firstsight.methods.loop import Loop, Rate, Stage, descend, seeded


def made(*stages: Stage, rate: Rate | None = None, seed: int = 0, data=()) -> Loop:
    """A loop over stages, with one optimiser of rate 0.01."""
    network = nn.Linear(1, 1)
    return Loop(stages, network, {"all": torch.optim.SGD(network.parameters(), 0.01)}, {"seed": seed}, data, rate)


def stage(steps: int, values=None, name: str = "loss", **changes) -> Stage:
    """A stage that learns nothing and whose losses are given."""
    values = iter([1.0] * steps if values is None else values)
    return Stage("stage", steps, lambda: {name: torch.tensor(next(values))}, **changes)


def rates(training: Loop) -> list[float]:
    """The learning rate at every step."""
    seen = []
    while training.step < training.steps:
        training.advance(FitControls())
        seen.append(training.optimisers["all"].param_groups[0]["lr"])
    return seen


def test_constant_rate():
    assert rates(made(stage(5))) == [0.01] * 5


def test_half_cuts_the_rate_in_the_second_half_of_a_stage():
    assert rates(made(stage(4), stage(5), rate=Rate("half"))) == pytest.approx(
        [0.01, 0.01, 0.001, 0.001] + [0.01] * 3 + [0.001] * 2
    )


def test_cosine_rate_ends_at_zero():
    seen = rates(made(stage(50), rate=Rate("cosine")))
    assert seen == pytest.approx([0.01 * (1 + math.cos(math.pi * step / 50)) / 2 for step in range(50)])
    assert seen[0] == 0.01
    assert seen[-1] < 0.01 * 0.002
    assert Rate("cosine").factor(1.0) == pytest.approx(0, abs=1e-12)


def test_cosine_rate_starts_anew_in_each_stage():
    seen = rates(made(stage(4), stage(4), rate=Rate("cosine")))
    assert seen[:4] == seen[4:]
    assert seen[3] < seen[0]


def test_each_group_of_parameters_decays_from_a_rate_of_its_own():
    network = nn.Linear(1, 1)
    groups = [{"params": [network.weight], "lr": 0.5}, {"params": [network.bias], "lr": 0.25}]
    training = Loop([stage(2)], network, {"all": torch.optim.SGD(groups)}, {"seed": 0}, (), Rate("cosine"))
    training.advance(FitControls())
    training.advance(FitControls())
    assert [group["lr"] for group in training.optimisers["all"].param_groups] == pytest.approx([0.25, 0.125])


def test_plateau_cuts_the_rate_where_the_loss_stands_still(monkeypatch):
    monkeypatch.setattr(loop, "PERIOD", 2)
    values = [5.0] * 2 + [4.0] * 14  # falls once, after the first period, then stands
    # periods end after steps 2, 4, ...; 4.0 is new at step 4, waits at 6, 8, 10, so the rate is cut from step 11 on
    expected = [0.01] * 10 + [0.001] * 6
    assert rates(made(stage(16, values), rate=Rate("plateau", 3))) == pytest.approx(expected)


def test_plateau_does_not_cut_while_the_loss_falls(monkeypatch):
    monkeypatch.setattr(loop, "PERIOD", 2)
    values = [0.9**step for step in range(12)]
    assert rates(made(stage(12, values), rate=Rate("plateau", 1))) == [0.01] * 12


@pytest.mark.parametrize("is_watched", [True, False])
def test_plateau_watches_the_losses_that_are_named(is_watched, monkeypatch):
    monkeypatch.setattr(loop, "PERIOD", 1)
    watched = ("loss",) if is_watched else ("another",)
    values = [0.5**step for step in range(6)]
    seen = rates(made(stage(6, values), rate=Rate("plateau", 1, watched)))
    assert (seen == [0.01] * 6) == is_watched


def test_plateau_of_one_stage_does_not_slow_the_next(monkeypatch):
    monkeypatch.setattr(loop, "PERIOD", 1)
    seen = rates(made(stage(6), stage(2), rate=Rate("plateau", 1)))
    assert seen[5] < 0.001
    assert seen[6] == 0.01


def test_losses_are_reported_as_means_of_a_period(monkeypatch):
    monkeypatch.setattr(loop, "PERIOD", 3)
    reports = []
    made(stage(5, [1.0, 2.0, 3.0, 5.0, 7.0])).run(FitControls(progress=lambda *report: reports.append(report)))
    assert reports == [(3, 5, {"loss": 2.0}), (5, 5, {"loss": 6.0})]


def test_periods_begin_anew_with_a_stage(monkeypatch):
    monkeypatch.setattr(loop, "PERIOD", 3)
    reports = []
    training = made(stage(4, [1.0, 1.0, 1.0, 4.0]), stage(2, [2.0, 4.0], "other"))
    training.run(FitControls(progress=lambda *report: reports.append(report)))
    assert reports == [(3, 6, {"loss": 1.0}), (4, 6, {"loss": 4.0}), (6, 6, {"other": 3.0})]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_losses_that_are_not_finite_say_so(value):
    with pytest.raises(InputError) as caught:
        made(stage(3, [1.0, value, 1.0])).run(FitControls())
    assert str(caught.value) == (f"training must stay finite; got {{'loss': {value}}} at step 3; lower learning_rate")


def test_the_network_is_in_training_mode_while_it_trains():
    modes = []
    training = made(Stage("stage", 2, lambda: (modes.append(training.network.training), {"loss": torch.ones(())})[1]))
    training.network.eval()
    training.run(FitControls())
    assert modes == [True, True]
    assert not training.network.training


def test_pictures_are_shown_after_each_period(monkeypatch):
    monkeypatch.setattr(loop, "PERIOD", 2)
    drawn, modes = [], []
    training = made(stage(3, show=lambda: modes.append(training.network.training) or "pictures"), stage(2))
    training.run(FitControls(draw=lambda *given: drawn.append(given)))
    assert drawn == [(2, "pictures"), (3, "pictures")]
    assert modes == [False, False]


def drawing(*streams: int, seed: int = 0, skip: bool = False) -> list[float]:
    """The random number that each step draws, of stages of three steps."""
    seen = []

    def step():
        seen.append(torch.rand(()).item())
        return {"loss": torch.ones(())}

    with seeded(9, torch.device("cpu")):
        training = made(*(Stage(f"stage {at}", 3, step, stream) for at, stream in enumerate(streams)), seed=seed)
        if skip:
            training.skip_to("stage 1")
        training.run(FitControls())
    return seen


def test_random_numbers_depend_on_seed_stream_and_step_alone():
    both = drawing(0, 1)
    assert len(set(both)) == 6
    assert drawing(1) == both[3:]
    assert drawing(0, 1, skip=True) == both[3:]
    assert drawing(0, 0)[:3] == drawing(0, 0)[3:] == both[:3]
    assert not set(drawing(0, 1, seed=1)) & set(both)


def test_random_numbers_of_others_are_left_alone():
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    drawing(0)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("longest", [10.0, None])
def test_gradients_are_clipped_where_asked(longest):
    network = nn.Linear(5, 5)
    optimiser, before = torch.optim.SGD(network.parameters(), 1.0), network.weight.detach().clone()
    descend(optimiser, [weight * network.weight.sum() for weight in (300, 20)], Ranks(), longest)
    moved = (network.weight - before).norm().item()
    assert moved == pytest.approx(320 * 5 if longest is None else longest, rel=1e-3)


def test_gradients_of_each_tensor_are_clipped_alone():
    network = nn.Linear(5, 5)
    optimiser, before = torch.optim.SGD(network.parameters(), 1.0), [p.detach().clone() for p in network.parameters()]
    descend(optimiser, [300 * network.weight.sum() + network.bias.sum()], Ranks(), 10.0, each=True)
    moved = [(p - old).norm().item() for p, old in zip(network.parameters(), before, strict=True)]
    assert moved == pytest.approx([10.0, 5**0.5], rel=1e-3)


def test_a_step_goes_down_the_sum_of_its_losses():
    found = []
    for weights in ([1.0], [0.2, 0.3, 0.5]):
        torch.manual_seed(0)
        network = nn.Linear(4, 3)
        optimiser, x = torch.optim.SGD(network.parameters(), 1.0), torch.randn(6, 4)
        for _ in range(2):  # gradients of the first are gone
            descend(optimiser, (weight * network(x).square().mean() for weight in weights), Ranks())
        found.append(network.weight.detach())
    torch.testing.assert_close(*found)


OPTIMISERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, 0.1),
    "momentum": lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, 0.1),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, 0.1, centered=True),
}


def regression(optimiser: str, seed: int = 0, data=None) -> Loop:
    """A loop that fits a line to points, with noise of its own."""
    x = torch.linspace(-1, 1, 20)[:, None] if data is None else data
    with seeded(seed, torch.device("cpu")):
        network = nn.Linear(1, 1)
    optimisers = {"one": OPTIMISERS[optimiser](network.parameters())}

    def step():
        loss = (network(x) - 2 * x - torch.rand(len(x), 1)).square().mean()
        descend(optimisers["one"], [loss], Ranks())
        return {"loss": loss}

    return Loop([Stage("line", 12, step)], network, optimisers, {"seed": seed}, [x], Rate("cosine"))


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("stop", [1, 5, 11])
def test_any_optimiser_continues_bit_for_bit(optimiser, stop, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "PERIOD", 1)

    def press(done, *_):
        if done == stop:
            os.kill(os.getpid(), signal.SIGINT)

    whole = regression(optimiser)
    whole.run(FitControls())
    path = tmp_path / "unfinished"
    with pytest.raises(KeyboardInterrupt):
        regression(optimiser).run(FitControls(press, path, 10**6))
    steps, continued = [], regression(optimiser)
    continued.run(FitControls(lambda done, *_: steps.append(done), path))
    assert steps[0] == stop + 1
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, continued.network.state_dict()[name])


@pytest.mark.parametrize("changes", [{"seed": 1}, {"data": torch.ones(20, 1)}])
def test_a_checkpoint_of_another_training_is_refused(changes, tmp_path):
    path = tmp_path / "unfinished"
    regression("adam").run(FitControls(checkpoint=path, checkpoint_every=5))
    with pytest.raises(InputError, match="checkpoint must come from this training"):
        regression("adam", **changes).run(FitControls(checkpoint=path))


def test_data_is_read_for_checkpoints_alone(tmp_path):
    def data():
        raise AssertionError("was read")
        yield

    made(stage(3), data=data()).run(FitControls())
    with pytest.raises(AssertionError, match="was read"):
        made(stage(3), data=data()).run(FitControls(checkpoint=tmp_path / "unfinished", checkpoint_every=1))
