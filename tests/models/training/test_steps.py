"""What a step may change and by which gradients, on toy methods and against plain autograd."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
import torch
from torch import nn

from sweeper.models.errors import UserError
from sweeper.models.training.settings import Settings
from sweeper.models.values import EpochRows, Objective
from tests.models.cases import build, close, fit, same, synthetic, weights
from tests.models.toys import Recorded, method_on

SIZES = {"train": 24, "validation": 16, "test": 8}
DATA = synthetic(**SIZES)
SETTINGS = Settings(epochs=2, batch_size=8, lr=0.1, weight_decay=0.05, keep="last")
ONE_STEP = Settings(epochs=1, batch_size=24, lr=0.1, momentum=0.0, weight_decay=0.0, keep="last")


def trained(cls, settings=SETTINGS, data=DATA):
    method = method_on(cls, data)
    fit(method, data, settings)
    return method


def moved(before, after):
    return {name for name, p in before.items() if not torch.equal(p, after[name])}


def parameters(method):
    return {name: p.detach().clone() for name, p in method.named_parameters()}


# what a step may change


class Game(Recorded):
    """A critic tells what it can of the sum of features and ascends; the rest descends it, and the task's loss."""

    def __init__(self, net, task):
        super().__init__(net, task)
        self.critic = nn.Linear(sum(net.dims.values()), 1)
        self.states, self.gains = [], []

    def told(self, output):
        z = torch.cat(list(output.pooled.values()), 1)
        return (self.critic(z).squeeze(-1).tanh() * (z.sum(1) - z.sum(1).mean())).mean()

    def objectives(self, batch, ctx):
        output = self(batch)
        told = self.told(output)
        self.states.append(parameters(self))
        yield Objective(-told, output, batch, train=("critic",))
        self.states.append(parameters(self))
        output = self(batch)
        self.gains.append(self.told(output).item() - told.item())
        yield Objective(
            {"task": self.loss(output, batch, ctx), "told": self.told(output)}, output, batch, ("net",)
        )


def test_a_step_changes_the_parameters_that_its_objective_names_and_no_others():
    """Though momentum and weight decay would move all."""
    method = trained(Game)
    names = {prefix: {n for n in method.states[0] if n.startswith(prefix)} for prefix in ("critic", "net")}
    for number, (before, after) in enumerate(pairwise(method.states)):
        assert moved(before, after) == names["net" if number % 2 else "critic"]
    assert min(method.gains) > 0  # the critic ascends


class Aside(Recorded):
    """Trains as joint, but for a critic that learns from the same forward pass before each step of the net."""

    def __init__(self, net, task):
        super().__init__(net, task)
        self.critic = nn.Linear(sum(net.dims.values()), 1)

    def objectives(self, batch, ctx):
        output = self(batch)
        z = torch.cat(list(output.pooled.values()), 1)
        yield Objective(self.critic(z).square().mean(), output, batch, train=("critic",))
        yield Objective(self.loss(output, batch, ctx), output, batch, train=("net",))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_momentum_and_weight_decay_leave_alone_what_an_objective_does_not_name(optimizer):
    settings = dataclasses.replace(SETTINGS, optimizer=optimizer, lr=0.01)
    aside = trained(Aside, settings)
    assert same(weights(aside), weights(trained(Recorded, settings)))
    assert moved(parameters(method_on(Aside, DATA)), parameters(aside)) >= {"critic.weight", "critic.bias"}


def test_prefixes_are_whole_parts_of_names():
    class Prefixed(Recorded):
        def objectives(self, batch, ctx):
            output = self(batch)
            named = ("net.encoders.m1", "net.fus", "net.fusion.head.bias")
            yield Objective(self.loss(output, batch, ctx), output, batch, named)

    before = parameters(method_on(Prefixed, DATA))
    expected = {n for n in before if n.startswith("net.encoders.m1.")} | {"net.fusion.head.bias"}
    assert moved(before, parameters(trained(Prefixed, ONE_STEP))) == expected


# the gradients of single losses


class Losses(Recorded):
    """Minimises the fused loss and that of each modality alone, by whose names its gradients go."""

    def loss(self, output, batch, ctx):
        alone = {m: 0.5 * self.task.loss(x, batch.target) for m, x in output.unimodal.items()}
        return {"fused": self.task.loss(output.fused, batch.target), **alone}


class Combining(Losses):
    """Remembers what it was given, and what it made of it."""

    def combine(self, gradients, ctx):
        made = self.mixed(gradients)
        self.given = gradients
        self.made = {name: gradient.clone() for name, gradient in made.items()}
        return made

    def mixed(self, gradients):
        return super().combine(gradients, None)


def flat(gradient, like):
    return torch.cat([gradient.get(n, torch.zeros_like(p)).flatten() for n, p in like.items()])


def unflat(vector, like):
    parts = vector.split([p.numel() for p in like.values()])
    return {n: part.view_as(p) for (n, p), part in zip(like.items(), parts, strict=True)}


class WithoutConflict(Combining):
    """Takes from each loss's gradient its part against the other's (Yu et al., PCGrad, NeurIPS 2020)."""

    def loss(self, output, batch, ctx):
        fused = self.task.loss(output.fused, batch.target)
        return {"fused": fused, "contrary": self.task.loss(output.fused, (batch.target + 1) % 4)}

    def mixed(self, gradients):
        like = parameters(self)
        whole = {name: flat(own, like) for name, own in gradients.items()}
        total = 0
        for name, own in whole.items():
            for other in (g for n, g in whole.items() if n != name):
                own = own - (own @ other).clamp_max(0) / (other @ other) * other
            total = total + own
        return unflat(total, like)


class LeastNorm(Combining):
    """The shortest mixture of two losses' gradients (Désidéri's MGDA)."""

    def loss(self, output, batch, ctx):
        losses = super().loss(output, batch, ctx)
        return {"fused": losses["fused"], "m0": losses["m0"]}

    def mixed(self, gradients):
        like = parameters(self)
        one, other = (flat(own, like) for own in gradients.values())
        share = ((other - one) @ other / (one - other).square().sum()).clamp(0, 1)
        return unflat(share * one + (1 - share) * other, like)


@pytest.mark.parametrize("cls", [Combining, WithoutConflict, LeastNorm])
def test_combine_is_given_each_losss_gradient_and_decides_on_the_step(cls):
    before = method_on(cls, DATA)
    method = trained(cls, ONE_STEP)
    (batch,), (ctx,) = method.seen, method.contexts
    losses = before.loss(before(batch), batch, ctx)
    names, own = zip(*before.named_parameters(), strict=True)
    assert method.given.keys() == losses.keys()
    for loss, value in losses.items():
        found = torch.autograd.grad(value, own, retain_graph=True, allow_unused=True)
        expected = {n: g for n, g in zip(names, found, strict=True) if g is not None}
        assert close(method.given[loss], expected)
    assert close(
        parameters(method), {n: p.detach() - 0.1 * method.made[n] for n, p in zip(names, own, strict=True)}
    )


def test_a_parameter_that_a_loss_does_not_reach_is_no_part_of_its_gradients():
    method = trained(Combining, ONE_STEP)
    every = {name for name, _ in method.named_parameters()}
    assert method.given["fused"].keys() == every
    for m, other in (("m0", "m1"), ("m1", "m0")):
        assert method.given[m].keys() == {n for n in every if not n.startswith(f"net.encoders.{other}.")}


@pytest.mark.parametrize(
    "settings", [SETTINGS, dataclasses.replace(SETTINGS, clip=0.1, optimizer="adamw")], ids=str
)
def test_to_combine_by_the_default_is_one_plain_backward_pass(settings):
    assert close(weights(trained(Combining, settings)), weights(trained(Losses, settings)))


@pytest.mark.parametrize("cls", [WithoutConflict, LeastNorm])
def test_the_step_is_against_neither_loss(cls):
    method = trained(cls, ONE_STEP)
    like = parameters(method)
    made, given = flat(method.made, like), [flat(own, like) for own in method.given.values()]
    assert made.norm() > 0
    if cls is WithoutConflict:
        assert given[0] @ given[1] < 0
        assert min(made @ own for own in given) > 0
    else:
        assert min(made @ own for own in given) >= made @ made - 1e-12


def test_what_combine_leaves_out_stays_where_it_is_and_modulate_has_the_last_word():
    class Half(Combining):
        def mixed(self, gradients):
            return {n: g for n, g in gradients["fused"].items() if "encoders" in n}

        def modulate(self, objective, ctx):
            for p in self.net.encoders.m0.parameters():
                p.grad.mul_(2)

    before = parameters(method_on(Half, DATA))
    method = trained(Half, dataclasses.replace(ONE_STEP, weight_decay=0.1, momentum=0.0))
    assert moved(before, parameters(method)) == {n for n in before if "encoders" in n}
    for name, gradient in method.made.items():
        step = 0.1 * ((2 if "m0" in name else 1) * gradient + 0.1 * before[name])
        assert torch.allclose(method.get_parameter(name), before[name] - step, rtol=0, atol=1e-12)


def test_combine_works_within_what_an_objective_names():
    class Named(Combining):
        def objectives(self, batch, ctx):
            for objective in super().objectives(batch, ctx):
                yield dataclasses.replace(objective, train=("net.encoders.m0",))

    before = parameters(method_on(Named, DATA))
    method = trained(Named, ONE_STEP)
    own = {n for n in before if n.startswith("net.encoders.m0")}
    assert method.given["fused"].keys() == moved(before, parameters(method)) == own
    assert method.given["m1"] == {}


# batches in parts


class Weighed(Recorded):
    """Rows count by their place in the epoch, and some lack a modality."""

    def epoch_rows(self, rows, ctx):
        place = torch.arange(len(rows))
        return EpochRows(rows, 1 + place / 10, {"m1": place % 3 > 0})


class Turns(Recorded):
    """Each modality in turn makes a step of its own, the second from where the first led."""

    def objectives(self, batch, ctx):
        for m in batch.inputs:
            output = self(batch)
            loss = self.task.loss(output.unimodal[m], batch.target)
            yield Objective(loss, output, batch, train=(f"net.encoders.{m}", "net.fusion"))


@pytest.mark.parametrize("cls", [Recorded, Losses, Weighed, Turns])
@pytest.mark.parametrize("parts", [2, 3, 50])
def test_a_batch_in_parts_gives_the_step_of_the_whole(cls, parts):
    """Batches of 10, 10 and 4 rows: in parts of unequal size, or of one row each where there are more parts."""
    whole, split = method_on(cls, DATA), method_on(cls, DATA)
    settings = dataclasses.replace(SETTINGS, batch_size=10)
    expected = fit(whole, DATA, settings).curve
    found = fit(split, DATA, dataclasses.replace(settings, accumulate=parts)).curve
    assert close(weights(split), weights(whole))
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-9)


def test_parts_have_randomness_of_their_own_and_the_step_of_their_batch():
    method = trained(Recorded, dataclasses.replace(SETTINGS, epochs=1, accumulate=2))
    assert [ctx.step for ctx in method.contexts] == [0, 0, 1, 1, 2, 2]
    drawn = [torch.rand(1, generator=ctx.generator("noise")).item() for ctx in method.contexts]
    assert len({*drawn}) == 6


@pytest.mark.parametrize("named", ["ogm", "mla", Combining])
def test_parts_are_refused_where_a_method_works_on_the_gradients_of_whole_batches(named):
    fusion = None if named == "mla" else "concat"
    method = build({"name": named}, DATA, fusion=fusion) if isinstance(named, str) else method_on(named, DATA)
    sentence = (
        f"train.accumulate is 2, but method {type(method).__name__} works on the gradients of whole batches"
    )
    with pytest.raises(UserError, match=sentence):
        fit(method, DATA, dataclasses.replace(SETTINGS, accumulate=2))
