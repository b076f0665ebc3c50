"""What the hooks of a method are promised, on toy methods that find out whether it is kept."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from sweeper.models.data.augment.base import Augmentation, Augmenter
from sweeper.models.maths.eager import eager
from sweeper.models.maths.regressors import Regressor
from sweeper.models.training.evaluation import all_scores, evaluate
from sweeper.models.training.settings import Settings
from sweeper.models.training.splits import splits_of
from sweeper.models.values import EpochRows, Phase
from tests.models.cases import close, fit, resumed, same, synthetic, weights
from tests.models.toys import Normed, Recorded, joined, method_on

SIZES = {"train": 24, "validation": 16, "test": 8}
DATA = synthetic(**SIZES)
SETTINGS = Settings(epochs=2, batch_size=8, lr=0.1)


def trained(cls, data=DATA, settings=SETTINGS, **options):
    method = method_on(cls, data, **options)
    fit(method, data, settings)
    return method


def state(method):
    return copy.deepcopy(dict(method.state_dict()))


def of_phases(*phases):
    """A method of these phases that remembers its state at the end of each."""

    class Staged(Recorded):
        def phases(self, epochs):
            self.ends = []
            return list(phases)

        def on_phase_end(self, ctx):
            self.ends.append(state(self.net))

    return Staged


# the rows of an epoch


class Twice(Recorded):
    """Trains on rows twice, all but one at first, then in reverse and without m0; later ones count for more."""

    def epoch_rows(self, rows, ctx):
        place = torch.arange(2 * len(rows) - 1)
        self.told = EpochRows(
            torch.cat([rows[1:], rows.flip(0)]), 1 + place / 10, {"m0": place < len(rows) - 1}
        )
        return self.told


def test_rows_may_repeat_be_left_out_come_in_another_order_and_lack_more_than_they_do():
    data = synthetic(**SIZES, missing=0.3)
    method = trained(Twice, data, dataclasses.replace(SETTINGS, epochs=1))
    told = method.told
    assert torch.equal(torch.cat([b.index for b in method.seen]), told.index)
    assert torch.equal(torch.cat([b.weight for b in method.seen]), told.weight.double())
    had = torch.as_tensor(data.present["m0"])[told.index]
    assert torch.equal(torch.cat([b.present["m0"] for b in method.seen]), had & told.present["m0"])
    assert not torch.equal(had, had & told.present["m0"])
    for batch in method.seen:
        for m, x in batch.inputs.items():
            assert torch.equal(x.float(), torch.as_tensor(data.inputs[m])[batch.index])
        lacking = ~batch.present["m0"]
        assert not method.net.encode(batch)["m0"][lacking].any()
        assert torch.equal(batch.target, torch.as_tensor(data.target)[batch.index])


def test_weights_reach_the_loss_and_its_mean():
    method, twin = method_on(Twice, DATA), method_on(Twice, DATA)
    outcome = fit(method, DATA, dataclasses.replace(SETTINGS, keep="last"))
    by_hand = eager(torch.optim.SGD)(list(twin.parameters()), 0.1, momentum=0.9, weight_decay=1e-4)
    total = rows = 0
    for number, batch in enumerate(method.seen):
        loss = (cross_entropy(twin(batch).fused, batch.target, reduction="none") * batch.weight).mean()
        by_hand.zero_grad()
        loss.backward()
        by_hand.step()
        if number >= len(method.seen) // 2:
            total, rows = total + loss.item() * len(batch), rows + len(batch)
    assert close(weights(method), weights(twin))
    assert outcome.curve[-1]["loss/loss"] == pytest.approx(total / rows, rel=1e-12)


def test_weights_of_one_are_none_to_the_bit():
    class One(Recorded):
        def epoch_rows(self, rows, ctx):
            return EpochRows(rows, torch.ones(len(rows)), {"m1": torch.ones(len(rows), dtype=torch.bool)})

    assert same(weights(trained(One)), weights(trained(Recorded)))


def test_steps_are_counted_by_the_batches_of_the_rows_trained_on():
    method = trained(Twice)
    assert [ctx.step for ctx in method.contexts] == list(range(2 * 6))  # 47 rows in batches of 8


@pytest.mark.parametrize("split", ["validation", "test", "held_out"])
def test_no_epoch_trains_on_rows_that_are_not_for_training(split):
    class Greedy(Recorded):
        held_out = 0.25

        def epoch_rows(self, rows, ctx):
            return EpochRows(torch.as_tensor(wanted))

    held_out = splits_of(DATA, method_on(Greedy, DATA), 0).held_out.rows
    wanted = held_out[:1] if split == "held_out" else DATA.rows[split][:1]
    with pytest.raises(ValueError, match="no training rows"):
        trained(Greedy)


# rows by their index


class Bank(Recorded):
    """Keeps for every row of the dataset what a step found, by the row's index; reads rows by it, too."""

    held_out = 0.25

    def __init__(self, net, task):
        super().__init__(net, task)
        self.register_buffer("counts", torch.zeros(net.spec.rows))
        self.register_buffer("target", torch.full((net.spec.rows,), -1))

    def loss(self, output, batch, ctx):
        self.counts[batch.index] += 1
        self.target[batch.index] = batch.target
        return super().loss(output, batch, ctx)

    def on_epoch_end(self, ctx, metrics):
        self.read = ctx.rows


def test_a_buffer_of_all_rows_is_filled_by_index():
    method = method_on(Bank, DATA)
    splits = splits_of(DATA, method, 0)
    fit(method, DATA, dataclasses.replace(SETTINGS, keep="last"))
    seen, expected = method.counts.numpy(), np.zeros(len(DATA.target))
    expected[splits.train.rows] = SETTINGS.epochs
    assert np.array_equal(seen, expected)
    assert np.array_equal(method.target[splits.train.rows], DATA.target[splits.train.rows])
    assert set(method.target[seen == 0].tolist()) == {-1}


def test_training_rows_are_found_again_by_index_and_no_others():
    method = trained(Bank)
    splits = splits_of(DATA, method, 0)
    held_out, own = splits.held_out.rows, splits.train.rows
    wanted = torch.as_tensor([held_out[2], own[5], own[0], held_out[0], own[5]])
    found = method.read(wanted)
    assert torch.equal(found.index, wanted)
    assert np.array_equal(found.target, DATA.target[wanted])
    for m, x in found.inputs.items():
        assert torch.equal(x.float(), torch.as_tensor(DATA.inputs[m][wanted]))
    for split in ("validation", "test"):
        with pytest.raises(ValueError, match="no training rows"):
            method.read(torch.as_tensor([own[0], DATA.rows[split][0]]))


# validation and what is kept


class Forgetful(Recorded):
    """Forgets everything after each epoch."""

    def on_epoch_end(self, ctx, metrics):
        self.metrics = metrics
        with torch.no_grad():
            for p in self.parameters():
                p.zero_()


def test_the_weights_put_by_are_those_that_were_scored():
    method = method_on(Forgetful, DATA)
    outcome = fit(method, DATA, SETTINGS)
    best = outcome.curve[outcome.best_epoch - 1]
    scores = all_scores(method.task, evaluate(method, splits_of(DATA, method, 0).validation))
    assert all(p.any() for p in weights(method).values())
    assert scores["loss"] == best["validation/loss"]
    assert scores["accuracy"] == max(entry["validation/accuracy"] for entry in outcome.curve)


def test_each_modalitys_own_loss_is_among_the_metrics():
    method = trained(Forgetful, settings=dataclasses.replace(SETTINGS, epochs=1))
    batch = next(splits_of(DATA, method, 0).validation.batches(16))
    for m, logits in method(batch).unimodal.items():
        assert method.metrics[f"loss/{m}"] == pytest.approx(cross_entropy(logits, batch.target).item())
    assert method.metrics["loss/m0"] != method.metrics["loss/m1"]


@pytest.mark.parametrize("metric", ["loss/m0", "loss/m1", "accuracy/m1", "macro_f1", None])
def test_a_phase_keeps_what_is_best_by_its_own_metric(metric):
    method = method_on(of_phases(Phase("train", 8, metric=metric)), DATA)
    outcome = fit(method, DATA, dataclasses.replace(SETTINGS, lr=1.0), metric="accuracy")
    values = [entry[f"validation/{metric or 'accuracy'}"] for entry in outcome.curve]
    best = min(values) if metric and metric.startswith("loss") else max(values)
    assert outcome.best_epoch == 1 + values.index(best)
    scores = all_scores(method.task, evaluate(method, splits_of(DATA, method, 0).validation))
    assert scores[metric or "accuracy"] == pytest.approx(best, rel=1e-12)


def test_phases_by_different_metrics_keep_different_epochs():
    found = set()
    for metric in ("loss/m0", "loss/m1", "accuracy"):
        method = method_on(of_phases(Phase("train", 8, metric=metric)), DATA)
        found.add(fit(method, DATA, dataclasses.replace(SETTINGS, lr=1.0)).best_epoch)
    assert len(found) > 1


# phases


def test_a_phase_has_the_learning_rate_it_says():
    staged = of_phases(Phase("a", 1), Phase("b", 1, lr=0.025), Phase("c", 1, lr=0.0), Phase("d", 1))
    method = trained(staged)
    assert [ctx.lr for ctx in method.contexts[::3]] == [0.1, 0.025, 0.0, 0.1]
    first, second, third, fourth = method.ends
    assert same(second, third)
    assert not torch.equal(first["fusion.head.weight"], second["fusion.head.weight"])
    assert not torch.equal(third["fusion.head.weight"], fourth["fusion.head.weight"])


KEPT, FRESH = (
    of_phases(Phase("a", 2, keep="last"), Phase("b", 2, keep="last", optimizer=kind))
    for kind in ("kept", "fresh")
)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_optimizer_goes_on_where_a_phase_says_so(optimizer, tmp_path):
    settings = dataclasses.replace(SETTINGS, optimizer=optimizer, lr=0.01)
    whole, kept, fresh = (
        weights(trained(cls, settings=settings))
        for cls in (of_phases(Phase("a", 4, keep="last")), KEPT, FRESH)
    )
    assert same(whole, kept)
    assert all(not torch.equal(p, fresh[name]) for name, p in whole.items())
    for killed in (3, 4):  # after the last epoch of the first phase, and amid the second
        method, _ = resumed(
            lambda: method_on(KEPT, DATA), DATA, tmp_path / f"{killed}.pt", settings, killed=killed
        )
        assert same(whole, weights(method))


class Probe(Recorded):
    """Trains, probes what a head that starts from here would learn, and goes on as if it had not."""

    def __init__(self, net, task):
        super().__init__(net, task)
        self.register_buffer("found", torch.zeros(3))
        self.regressor = Regressor("lr")  # whose buffers come with its fit
        self.states = []

    def phases(self, epochs):
        probe = Phase("probe", 3, train=("net.fusion",), keep="none", lr=1.0)
        return [Phase("train", 2, keep="last"), probe, Phase("rest", 2, keep="last")]

    def on_epoch_end(self, ctx, metrics):
        self.states.append(state(self.net))
        if ctx.phase.name == "probe":
            self.found[ctx.epoch] = metrics["loss"]
            self.regressor.state = {"weight": self.found.clone()}

    def on_phase_end(self, ctx):
        self.states.append(state(self.net))


def test_a_probe_leaves_the_net_as_it_found_it_and_what_the_method_remembers():
    method = method_on(Probe, DATA)
    curve = fit(method, DATA, SETTINGS).curve
    _, _, before, *probed, after, _, _, _ = method.states
    assert len(probed) == 3
    assert all(not torch.equal(own["fusion.head.weight"], before["fusion.head.weight"]) for own in probed)
    assert same(before, after)
    assert method.found.tolist() == [entry["validation/loss"] for entry in curve[2:5]]
    assert torch.equal(method.regressor.state["weight"], method.found)
    assert int(method.stage) == 2


@pytest.mark.parametrize("killed", [3, 4, 5, 6])
def test_a_probe_that_was_interrupted_leaves_the_net_as_it_found_it(killed, tmp_path):
    whole = method_on(Probe, DATA)
    expected = fit(whole, DATA, SETTINGS)
    path = tmp_path / "checkpoint.pt"
    method, outcome = resumed(lambda: method_on(Probe, DATA), DATA, path, SETTINGS, killed=killed)
    assert outcome == expected
    assert same(method.state_dict(), whole.state_dict())


PROBE = Phase("probe", 3, keep="none", lr=1.0)
AFTER_A_PROBE, AFTER_TWO, AFRESH = (
    of_phases(Phase("a", 2, keep="last"), *probes, Phase("b", 2, keep="last", optimizer=kind))
    for probes, kind in (([PROBE], "kept"), ([PROBE, PROBE], "kept"), ([PROBE], "fresh"))
)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_optimizer_that_goes_on_passes_over_probes(optimizer):
    # a batch of all rows, so that the order, which another number of epochs changes, does not count
    settings = dataclasses.replace(SETTINGS, optimizer=optimizer, lr=0.01, batch_size=SIZES["train"])
    whole, once, twice, afresh = (
        weights(trained(cls, settings=settings))
        for cls in (of_phases(Phase("a", 4, keep="last")), AFTER_A_PROBE, AFTER_TWO, AFRESH)
    )
    assert close(once, whole)
    assert close(twice, whole)
    assert all(not torch.allclose(p, afresh[name]) for name, p in whole.items())


@pytest.mark.parametrize("killed", [3, 4, 5, 6])
def test_an_optimizer_that_goes_on_after_a_probe_that_was_interrupted_is_the_same(killed, tmp_path):
    whole = method_on(AFTER_A_PROBE, DATA)
    expected = fit(whole, DATA, SETTINGS)
    path = tmp_path / "checkpoint.pt"
    method, outcome = resumed(lambda: method_on(AFTER_A_PROBE, DATA), DATA, path, SETTINGS, killed=killed)
    assert outcome == expected
    assert same(method.state_dict(), whole.state_dict())


class Copying(Recorded):
    """Keeps a frozen copy of what its only phase, a probe, learned."""

    def __init__(self, net, task):
        super().__init__(net, task)
        self.teacher = copy.deepcopy(net).requires_grad_(False)

    def phases(self, epochs):
        return [Phase("probe", epochs, keep="none")]

    def on_epoch_end(self, ctx, metrics):
        self.teacher.load_state_dict(self.net.state_dict())


def test_a_frozen_copy_outlasts_the_probe_that_it_was_taken_in():
    before, method = state(method_on(Copying, DATA).net), trained(Copying)
    assert same(before, method.net.state_dict())
    assert not torch.equal(before["fusion.head.weight"], method.teacher.fusion.head.weight)


# what is frozen


class Watched(Recorded):
    """Trains all, then some; remembers of each step what its encoders' modes, statistics and features were."""

    def __init__(self, net, task):
        super().__init__(net, task)
        self.teacher = copy.deepcopy(net).requires_grad_(False)
        self.steps, self.after = [], []

    def phases(self, epochs):
        return [
            Phase("all", 1, keep="last"),
            Phase("some", 1, ("net.fusion", "net.encoders.m1"), keep="last"),
        ]

    def objectives(self, batch, ctx):
        before, twice = state(self), [self.net.encode(batch), self.net.encode(batch)]
        self.teacher(batch)
        yield from super().objectives(batch, ctx)
        same_features = {m: torch.equal(*(z[m] for z in twice)) for m in batch.inputs}
        changed = {name for name, value in self.state_dict().items() if not torch.equal(value, before[name])}
        self.steps.append((ctx.phase.name, same_features, changed))

    def on_epoch_end(self, ctx, metrics):
        self.after.append({name for name, module in self.named_modules() if module.training})


def statistics_of(*modalities):
    return {f"net.encoders.{m}.body.1.running_{name}" for m in modalities for name in ("mean", "var")}


def test_what_is_frozen_is_in_evaluation_mode_and_all_else_in_training_mode():
    method = trained(Watched, encoder=Normed)
    assert [name for name, _, _ in method.steps] == ["all"] * 3 + ["some"] * 3
    for phase, same_features, changed in method.steps:
        trains = ("m0", "m1") if phase == "all" else ("m1",)
        assert same_features == {m: m not in trains for m in ("m0", "m1")}  # no dropout where frozen
        assert {name for name in changed if "running" in name} == statistics_of(*trains)
        assert {name.split(".")[2] for name in changed if "encoders" in name} == {*trains}
        assert "net.fusion.head.weight" in changed
        assert not any(name.startswith("teacher") for name in changed)


def test_modes_are_right_again_after_validation():
    method = trained(Watched, encoder=Normed)
    for trains, after in zip((("m0", "m1"), ("m1",)), method.after, strict=True):
        encoders = {name.split(".")[2] for name in after if name.startswith("net.encoders.")}
        assert encoders == {*trains}
        assert {"", "net", "net.fusion", "net.encoders.m1.body.3"} <= after
        assert not any(name.startswith("teacher") for name in after)


# what a method keeps beside the net


class Taught(Recorded):
    """Learns from a copy of itself at the end of a first phase, from prototypes and from a bank of features."""

    def __init__(self, net, task):
        super().__init__(net, task)
        width = sum(net.dims.values())
        self.teacher = copy.deepcopy(net).requires_grad_(False)
        self.register_buffer("prototypes", torch.zeros(task.n_outputs, width))
        self.register_buffer("bank", torch.zeros(net.spec.rows, width))

    def phases(self, epochs):
        return [Phase("alone", 2), Phase("taught", 2, optimizer="kept")]

    def loss(self, output, batch, ctx):
        z = torch.cat(list(output.pooled.values()), 1)
        losses = {"task": super().loss(output, batch, ctx)}
        losses["prototypes"] = 0.1 * (z - self.prototypes[batch.target]).square().mean()
        losses["bank"] = 0.1 * (z - self.bank[batch.index]).square().mean()
        if self.stage == 1:
            losses["teacher"] = (output.fused - self.teacher(batch).fused).square().mean()
        with torch.no_grad():
            self.bank[batch.index] = z
            self.prototypes[batch.target] = 0.9 * self.prototypes[batch.target] + 0.1 * z
        return losses

    def on_phase_end(self, ctx):
        if ctx.phase.name == "alone":
            self.teacher.load_state_dict(self.net.state_dict())


@pytest.mark.parametrize("killed", [2, 3, 4])
def test_teacher_prototypes_and_bank_resume_as_if_uninterrupted(killed, tmp_path):
    whole = method_on(Taught, DATA, encoder=Normed)
    expected = fit(whole, DATA, SETTINGS)
    assert all(whole.state_dict()[name].any() for name in ("prototypes", "bank"))
    assert not torch.equal(whole.teacher.fusion.head.weight, whole.net.fusion.head.weight)
    path = tmp_path / "checkpoint.pt"
    method, outcome = resumed(
        lambda: method_on(Taught, DATA, encoder=Normed), DATA, path, SETTINGS, killed=killed
    )
    assert outcome == expected
    assert same(method.state_dict(), whole.state_dict())


# augmentation


class Shift(Augmentation):
    """Adds a row's random number to all of its features."""

    takes = ("vector",)

    def __call__(self, x, u, lengths):
        return x + u


class Looks(Recorded):
    """Remembers what rows look like outside of a step."""

    held_out = 0.25

    def on_epoch_end(self, ctx, metrics):
        self.clean = joined([*ctx.train(), *ctx.held_out(), ctx.rows(self.seen[0].index)])


def shifting():
    return Augmenter({"m0": [Shift()]}, DATA.spec.rows, 0)


def original(batch):
    return torch.as_tensor(DATA.inputs["m0"])[batch.index].double()


def test_augmentation_changes_what_is_trained_on_and_nothing_that_is_measured():
    method = method_on(Looks, DATA)
    curve = fit(method, DATA, dataclasses.replace(SETTINGS, keep="last"), augmenter=shifting()).curve
    for batch in method.seen:
        shift = batch.inputs["m0"] - original(batch)
        assert ((shift >= 0) & (shift < 1)).all()
        assert torch.allclose(shift, shift[:, :1].expand_as(shift))
        assert shift[:, 0].std() > 0.1
        assert torch.equal(batch.inputs["m1"].float(), torch.as_tensor(DATA.inputs["m1"])[batch.index])
    assert torch.equal(method.clean.inputs["m0"], original(method.clean))
    scores = all_scores(method.task, evaluate(method, splits_of(DATA, method, 0).validation))
    assert curve[-1]["validation/loss"] == scores["loss"]


def test_a_row_is_augmented_alike_in_batches_of_any_size_and_otherwise_in_another_epoch():
    found = []
    for size in (8, 5):
        method = method_on(Recorded, DATA)
        fit(method, DATA, dataclasses.replace(SETTINGS, batch_size=size), augmenter=shifting())
        batches = method.seen
        epochs = [joined(batches[: len(batches) // 2]), joined(batches[len(batches) // 2 :])]
        found.append([rows.inputs["m0"][rows.index.argsort()] for rows in epochs])
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert not torch.isclose(found[0][0], found[0][1]).any()
