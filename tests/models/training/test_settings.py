"""What a run's settings and a method's rates make of a step, against a loop of torch's own optimisers."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from sweeper.models.errors import UserError
from sweeper.models.training.optimizers import ENCODERS
from sweeper.models.training.settings import Settings, parameters, settings_of
from sweeper.models.values import Phase
from tests.models.cases import build, close, fit, synthetic
from tests.models.toys import Normed, Recorded, method_on

DATA = synthetic(train=24, validation=16, test=8)
PLAIN = {"epochs": 3, "batch_size": 10, "lr": 0.1, "weight_decay": 0.05, "keep": "last"}
STEPS = 3  # of an epoch: 10, 10 and 4 rows

# by optimiser: torch's own, and its options
OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"momentum": 0.9}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
}


class Rated(Recorded):
    """Trains the net at half the rate, but its second encoder not at all in the first epoch and faster later."""

    def rates(self, ctx):
        return {"net": 0.5, "net.encoders.m1": 2.0 * ctx.epoch, "net.fus": 100.0}


def rated(name, at):
    return 2.0 * math.floor(at) if name.startswith("net.encoders.m1") else 0.5


def by_hand(method, batches, settings, *, rate=lambda name, at: 1.0, decays=lambda name: True):
    """Train on batches; `rate` is the factor on the learning rate of a parameter after `at` epochs."""
    named = dict(method.named_parameters())
    kind, options = OPTIMIZERS[settings.optimizer]
    groups = [
        {"params": [p], "name": name, "weight_decay": settings.weight_decay * decays(name)}
        for name, p in named.items()
    ]
    optimizer = kind(groups, lr=settings.lr, **options)
    method.train()
    for number, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * rate(group["name"], number / STEPS)
        optimizer.zero_grad()
        cross_entropy(method(batch).fused, batch.target).backward()
        if settings.clip_value:
            for p in named.values():
                p.grad.clamp_(-settings.clip_value, settings.clip_value)
        optimizer.step()
    return method


def equal_by_hand(options, cls=Recorded, data=DATA, *, net=None, **rules):
    """Say whether training under settings gives what the rules do by hand."""
    settings, net = settings_of({**PLAIN, **options}), net or {}
    method, twin = method_on(cls, data, **net), method_on(cls, data, **net)
    fit(method, data, settings)
    by_hand(twin, method.seen, settings, **rules)
    return close(dict(method.named_parameters()), dict(twin.named_parameters()))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_is_a_loop_of_torchs_own_optimizer(optimizer):
    assert equal_by_hand({"optimizer": optimizer, "lr": 0.02})


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_of_the_factors_that_fit_the_longest_prefix_counts_in_each_epoch(optimizer):
    assert equal_by_hand({"optimizer": optimizer, "lr": 0.02}, Rated, rate=rated)


def test_a_modalitys_encoder_has_its_own_rate():
    def rate(name, at):
        return 0.3 if name.startswith("net.encoders.m0") else 1.0

    assert equal_by_hand({"lr.m0": 0.03}, rate=rate)


def test_a_factor_multiplies_the_encoders_own_rate():
    def rate(name, at):
        return rated(name, at) * (3.0 if name.startswith("net.encoders.m1") else 1.0)

    assert equal_by_hand({"lr.m1": 0.3}, Rated, rate=rate)


def test_an_encoders_layers_learn_the_slower_the_lower_they_lie():
    factors = {"body.1": 0.25, "body.3": 0.5, "body.5": 1.0}  # the linear layers of a perceptron

    def rate(name, at):
        layer = ".".join(name.split(".")[3:5])
        return factors[layer] * (0.3 if ".m0." in name else 1.0) if name.startswith(ENCODERS) else 1.0

    assert equal_by_hand({"layer_decay": 0.5, "lr.m0": 0.03}, net={"layers": 2}, rate=rate)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_biases_and_norms_are_left_out_of_weight_decay(optimizer):
    left_out = {"body.1.weight", "body.1.bias", "head.bias"}  # body.1 is a batch norm

    def decays(name):
        return not any(name.endswith(own) for own in left_out)

    net, options = {"encoder": Normed, "dropout": 0.0}, {"optimizer": optimizer, "lr": 0.02}
    assert equal_by_hand({"decay": "weights", **options}, net=net, decays=decays)
    assert equal_by_hand({"decay": "all", **options}, net=net)


@pytest.mark.parametrize("warmup", [1.0, 1.5, 10.0])
def test_the_rate_rises_from_step_to_step_while_warming_up(warmup):
    def rate(name, at):
        return min(1.0, (at + 1 / STEPS) / warmup)

    assert equal_by_hand({"warmup": warmup}, rate=rate)


def test_each_entry_of_a_gradient_is_bounded():
    assert equal_by_hand({"clip_value": 0.01, "weight_decay": 0.0})


@pytest.mark.parametrize("schedule", ["cosine", "step", "plateau"])
def test_warmup_rates_and_schedule_multiply_and_none_of_them_adds_up(schedule):
    factors = {"cosine": [1.0, 0.75, 0.25]}.get(schedule, [1.0, 1.0, 1.0])

    def rate(name, at):
        return rated(name, at) * factors[math.floor(at)] * min(1.0, (at + 1 / STEPS) / 2)

    options = {"warmup": 2.0, "schedule": schedule, "optimizer": "adamw", "lr": 0.02}
    assert equal_by_hand(options, Rated, rate=rate)


def test_each_phase_warms_up_by_itself_and_hooks_see_the_rate_of_the_step():
    class Two(Recorded):
        def phases(self, epochs):
            return [Phase("a", 1), Phase("b", 1, lr=0.2)]

    method = method_on(Two, DATA)
    fit(method, DATA, settings_of({**PLAIN, "warmup": 2.0}))
    expected = [0.1 * k / 6 for k in (1, 2, 3)] + [0.2 * k / 6 for k in (1, 2, 3)]
    assert [ctx.lr for ctx in method.contexts] == pytest.approx(expected)


@pytest.mark.parametrize("keep", ["best", "last", None])
def test_what_is_kept_may_be_set_for_a_run(keep):
    class Last(Recorded):
        def phases(self, epochs):
            return [Phase("train", epochs, keep="last")]

    options = {**PLAIN, "epochs": 8, "lr": 1.0, "keep": keep}
    method = method_on(Last, DATA)
    outcome = fit(method, DATA, settings_of(options))
    values = [entry["validation/accuracy"] for entry in outcome.curve]
    assert outcome.kept == (keep or "last")
    assert outcome.best_epoch == (1 + values.index(max(values)) if keep == "best" else 8)


def test_settings_are_those_of_a_run_with_rates_by_modality():
    found = settings_of({"epochs": 5, "warmup": 2.0, "lr.m0": 0.1, "lr.m1": 0.0})
    assert found == Settings(epochs=5, warmup=2.0, encoder_lr={"m0": 0.1, "m1": 0.0})
    names = {f.name for f in dataclasses.fields(Settings)} - {"encoder_lr"}
    assert set(parameters()) == names
    assert set(parameters(["m0"])) == names | {"lr.m0"}


@pytest.mark.parametrize(
    ("name", "value", "admissible"),
    [
        ("warmup", -1.0, "a number from 0"),
        ("layer_decay", 1.5, "a number from 0 to 1"),
        ("decay", "biases", "all | weights"),
        ("clip_value", 0.0, "a number above 0 | null"),
        ("accumulate", 0, "a whole number from 1"),
        ("keep", "none", "best | last | null"),
        ("lr.m0", -0.1, "a number from 0"),
    ],
)
def test_what_is_out_of_range_is_told(name, value, admissible):
    with pytest.raises(UserError) as told:
        settings_of({name: value})
    assert str(told.value) == f"train.{name} is {value!r}; admissible: {admissible}"


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step", "plateau"])
def test_a_phase_may_have_no_epochs_under_any_schedule(schedule):
    method = build({"name": "udml", "progression": False}, DATA)
    assert [phase.epochs for phase in method.phases(2)] == [0, 0, 2]
    assert len(fit(method, DATA, Settings(epochs=2, schedule=schedule)).curve) == 2
