"""What every method must keep, whatever it does: one table of cases (cases.py) drives all of these."""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from sweeper.models.errors import Diverged, UserError
from sweeper.models.maths import metrics
from sweeper.models.maths.presence import present_in
from sweeper.models.schema.entries import entries
from sweeper.models.training import checkpoint
from sweeper.models.training.build import build_method
from sweeper.models.training.evaluation import all_scores, evaluate
from sweeper.models.training.splits import splits_of
from sweeper.models.training.trainer import train
from sweeper.models.values import AXES
from tests.models.cases import (
    CASES,
    SETTINGS,
    VARIANTS,
    Case,
    build,
    fit,
    of_all_lengths,
    resumed,
    same,
    synthetic,
    weights,
)

EVERY = [pytest.param(c, id="-".join(map(str, [c.method, *c.options.values()]))) for c in CASES + VARIANTS]
# every case on vectors, and every method on rows of several lengths
EVERYWHERE = [pytest.param(*p.values, synthetic, id=p.id) for p in EVERY]
EVERYWHERE += [pytest.param(c, of_all_lengths, id=f"{c.method}-lengths") for c in CASES]
# without those that are fitted at once, and take no steps
STEPPING = [p for p in EVERY if not p.values[0].at_once]
FUSIONS = sorted(n for n, e in entries("fusion").items() if "classification" in e.facts["tasks"])
fusing = [c for c in CASES if entries("method")[c.method].facts["fuses"]]


def admits(case: Case, modalities: int) -> bool:
    least, most = entries("method")[case.method].facts["modalities"]
    return least <= modalities <= (most or modalities)


def tasks_of(case: Case) -> tuple[str, ...]:
    return entries("method")[case.method].facts["tasks"]


def fusion_of(case: Case, task: str = "classification") -> str | None:
    return "decoder" if case.fuses_by and task == "segmentation" else case.fuses_by


def test_the_table_has_a_row_for_every_method():
    assert {c.method for c in CASES} == set(entries("method"))


NEUTRAL = [(c, synthetic, task) for c in CASES if c.neutral is not None for task in tasks_of(c)]
NEUTRAL += [(c, of_all_lengths, "classification") for c in CASES if c.neutral is not None]


@pytest.mark.parametrize(
    ("case", "make", "task"), NEUTRAL, ids=lambda v: getattr(v, "method", getattr(v, "__name__", v))
)
def test_neutral_setting_is_joint_training_to_the_bit(case, make, task):
    data = make(task=task)
    fusion = fusion_of(case, task)
    joint, neutral = (
        build(named, data, fusion=fusion)
        for named in ({"name": "joint"}, {"name": case.method, **case.neutral})
    )
    fit(joint, data)
    fit(neutral, data)
    for name, p in weights(joint).items():
        assert torch.equal(p, weights(neutral)[name]), name


@pytest.mark.parametrize(("case", "make"), [p for p in EVERYWHERE if not p.values[0].at_once])
def test_resume_equals_uninterrupted(case, make, tmp_path):
    data = make()
    whole = build(case.named, data, fusion=fusion_of(case))
    expected = fit(whole, data)
    found, outcome = resumed(
        lambda: build(case.named, data, fusion=fusion_of(case)), data, tmp_path / "checkpoint.pt"
    )
    assert outcome == expected
    assert same(whole.state_dict(), found.state_dict())


@pytest.mark.parametrize("case", STEPPING)
def test_another_seed_gives_other_weights_and_the_same_seed_the_same(case):
    data = synthetic()
    found = []
    for seed in (0, 0, 1):
        method = build(case.named, data, seed, fusion_of(case))
        fit(method, data, seed=seed)
        found.append(torch.cat([p.flatten() for p in method.parameters()]))
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2])


# of lfm, that whose α is not learned
QUICK = [c for c in CASES if c.learns and c.method != "lfm"] + [c for c in VARIANTS if c.method == "lfm"][:1]


@pytest.mark.parametrize("modalities", [1, 2, 3])
@pytest.mark.parametrize("case", QUICK, ids=lambda c: c.method)
def test_learns_better_than_chance_with_one_two_three_modalities(case, modalities):
    if not admits(case, modalities):
        with pytest.raises(UserError, match=f"{case.method!r} needs at least 2 modalities"):
            build(case.named, synthetic(modalities), fusion=fusion_of(case))
        return
    data = synthetic(modalities)
    method = build(case.named, data, fusion=fusion_of(case))
    fit(method, data, dataclasses.replace(SETTINGS, epochs=12))
    scores = all_scores(method.task, evaluate(method, splits_of(data, method, 0).validation))
    assert scores["accuracy"] > 0.45  # chance is 0.25, its std over 64 rows 0.054


@pytest.mark.parametrize("case", QUICK, ids=lambda c: c.method)
def test_learns_from_sequences_tokens_and_sound_of_all_lengths(case):
    data = of_all_lengths(missing=0.1)
    assert all(np.unique(steps).size > 1 for steps in data.lengths.values())
    method = build(case.named, data, fusion=fusion_of(case))
    fit(method, data, dataclasses.replace(SETTINGS, epochs=10, lr=0.01, optimizer="adam"))
    scores = all_scores(method.task, evaluate(method, splits_of(data, method, 0).validation))
    assert scores["accuracy"] > 0.45  # chance is 0.25


@pytest.mark.parametrize("kind", AXES)
def test_every_kind_of_input_is_learned_from(kind):
    data = synthetic(1, kind=kind, dim=4, shorter=0.5, signal=6.0)
    method = build({"name": "joint"}, data)
    fit(method, data, dataclasses.replace(SETTINGS, epochs=12, lr=0.01, optimizer="adam"))
    scores = all_scores(method.task, evaluate(method, splits_of(data, method, 0).validation))
    assert scores["accuracy"] > 0.45  # chance is 0.25


def without_learning(task: str, target: np.ndarray) -> float:
    """Return the headline of the best prediction that is the same for every row."""
    if task == "multilabel":
        return metrics.multilabel(np.ones(target.shape), target)["micro_f1"]
    if task == "regression":
        return metrics.regression(np.full(len(target), np.median(target)), target)["mae"]
    pixels = np.bincount(target.ravel())
    return metrics.segmentation(np.outer(pixels, np.arange(len(pixels)) == 0))["miou"]


@pytest.mark.parametrize("task", ["multilabel", "regression", "segmentation"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.method)
def test_learns_every_task_it_declares_and_refuses_the_others(case, task):
    data = synthetic(task=task, signal=4.0, missing=0.1)
    if task not in tasks_of(case):
        declared = ", ".join(tasks_of(case))
        sentence = f"method '{case.method}' supports {declared}; dataset 'synthetic' poses {task}"
        with pytest.raises(UserError, match=sentence):
            build(case.named, data, fusion=fusion_of(case, task))
        return
    method = build(case.named, data, fusion=fusion_of(case, task))
    curve = fit(method, data, dataclasses.replace(SETTINGS, epochs=20, lr=0.02, optimizer="adam")).curve
    found = evaluate(method, splits_of(data, method, 0).validation)
    scores, name = all_scores(method.task, found), method.task.headline
    trivial = without_learning(task, data.target[data.rows["validation"]])
    better = 1 if metrics.direction(name) == "max" else -1
    assert better * scores[name] > better * trivial + 0.1
    assert all(math.isfinite(v) for v in [*scores.values(), *(v for entry in curve for v in entry.values())])
    assert {key.partition("/")[0] for key in scores} <= set(metrics.OF_TASK[task])


# what a fusion is tried on, by how it reads
READ = {
    "pooled": ("vector", None),
    "tokens": ("sequence", {"name": "sequence", "dim": 8}),
    "stages": ("image", {"name": "convnet", "width": 4, "layers": 2, "dim": 8}),
}


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("case", fusing, ids=lambda c: c.method)
def test_learns_with_every_fusion(case, fusion):
    reads = entries("fusion")[fusion].facts["reads"]
    kind, encoder = READ[reads]
    data = synthetic(3, kind=kind)
    if reads not in entries("method")[case.method].facts["reads"]:
        with pytest.raises(UserError, match=f"method {case.method!r} needs a fusion that reads"):
            build(case.named, data, fusion=fusion, encoder=encoder)
        return
    method = build(case.named, data, fusion=fusion, encoder=encoder)
    fit(method, data, dataclasses.replace(SETTINGS, epochs=20, lr=0.01, optimizer="adam"))
    scores = all_scores(method.task, evaluate(method, splits_of(data, method, 0).validation))
    assert scores["accuracy"] > 0.45  # chance is 0.25
    assert all(math.isfinite(v) for v in scores.values())
    assert {f"accuracy/m{i}" for i in range(3)} <= set(scores)


@pytest.mark.parametrize("make", [partial(synthetic, 3), of_all_lengths], ids=["vectors", "lengths"])
@pytest.mark.parametrize("case", [c for c in CASES if c.permutes], ids=lambda c: c.method)
def test_reordering_modalities_permutes_what_is_learned(case, make):
    """Concatenation's head permutes with the modalities; initial weights come from streams named after them."""
    data = make()
    order = ["m2", "m0", "m1"]
    spec = dataclasses.replace(data.spec, modalities={m: data.spec.modalities[m] for m in order})
    turned = dataclasses.replace(data, spec=spec, inputs={m: data.inputs[m] for m in order})
    one = build(case.named, data, fusion=fusion_of(case) and "mean", dtype=torch.float64)
    other = build(case.named, turned, fusion=fusion_of(case) and "mean", dtype=torch.float64)
    state = one.state_dict()
    assert set(state) == set(other.state_dict())
    other.load_state_dict(state)
    curves = [fit(one, data).curve, fit(other, turned).curve]
    for a, b in zip(*curves, strict=True):
        assert set(a) == set(b)
        for name, value in a.items():
            assert value == pytest.approx(b[name], rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize(("case", "make"), EVERYWHERE)
def test_a_run_may_lack_modalities_in_rows(case, make):
    data = make(missing=0.4) if make is of_all_lengths else make(3, missing=0.4)
    method = build(case.named, data, fusion=fusion_of(case))
    curve = fit(method, data).curve
    assert all(math.isfinite(v) for entry in curve for v in entry.values())


def test_a_modality_alone_is_scored_on_the_rows_that_have_it():
    data = synthetic(3, missing=0.4)
    method = build({"name": "uniform"}, data)
    found = evaluate(method, splits_of(data, method, 0).validation)
    rows = found.present["m1"]
    right = found.unimodal["m1"].argmax(1) == found.target
    assert 0 < rows.sum() < len(rows)
    assert all_scores(method.task, found)["accuracy/m1"] == right[rows].mean() != right.mean()
    losses = found.losses["m1"]
    assert all_scores(method.task, found)["loss/m1"] == losses[rows].mean() != losses.mean()
    nowhere = dataclasses.replace(found, present=found.present | {"m1": np.zeros_like(rows)})
    assert not {"accuracy/m1", "loss/m1"} & set(all_scores(method.task, nowhere))


def test_hooks_cannot_see_test_data():
    data = synthetic()
    method = build({"name": "joint"}, data)
    splits = splits_of(data, method, 0)
    seen = set()
    for feed in (splits.train, splits.held_out, splits.validation):
        seen |= {int(i) for batch in feed.batches(16) for i in batch.index}
    assert not seen & set(data.rows["test"].tolist())
    assert len(seen) == len(data.rows["train"]) + len(data.rows["validation"])


def test_held_out_rows_are_never_trained_on():
    data = synthetic()
    method = build({"name": "lfm"}, data)
    splits = splits_of(data, method, 0)
    train_rows, held = set(splits.train.rows.tolist()), set(splits.held_out.rows.tolist())
    assert held
    assert not train_rows & held
    assert train_rows | held == set(data.rows["train"].tolist())


@pytest.mark.parametrize("case", STEPPING)
def test_every_method_sees_the_rows_in_the_same_order(case):
    """Copies of rows that a method puts between them lack a modality."""
    data = synthetic()

    def orders(named, fusion):
        method = build(named, data, fusion=fusion)
        seen, forward = [], method.objectives

        def objectives(batch, ctx):
            seen.append(batch.index[present_in(batch, data.spec.modalities).all(0)].tolist())
            return forward(batch, ctx)

        method.objectives = objectives
        fit(method, data, dataclasses.replace(SETTINGS, epochs=4))
        rows, held = [i for batch in seen for i in batch], splits_of(data, method, 0).held_out.rows.tolist()
        return rows, held

    rows, held = orders(case.named, fusion_of(case))
    assert rows == [i for i in orders({"name": "joint"}, "concat")[0] if i not in held]


def test_the_last_epochs_weights_are_kept_where_a_method_says_so():
    data = synthetic()
    method = build({"name": "lfm", "schedule": "constant", "alpha": 1.0}, data)
    assert fit(method, data, dataclasses.replace(SETTINGS, epochs=4)).best_epoch == 4


@pytest.mark.parametrize("keep", [0, 4, 200])
def test_a_damaged_checkpoint_counts_as_none(tmp_path, keep):
    path = tmp_path / "state.pt"
    checkpoint.save(path, {"weight": torch.ones(100)})
    assert checkpoint.load(path)["weight"].sum() == 100
    path.write_bytes(path.read_bytes()[:keep] + b"x")
    assert checkpoint.load(path) is None
    assert checkpoint.load(tmp_path / "none.pt") is None


def test_divergence_is_told():
    data = synthetic()
    method = build({"name": "joint"}, data)
    with pytest.raises(Diverged, match="loss became"):
        fit(method, data, dataclasses.replace(SETTINGS, lr=1e30, epochs=5))


def test_limits_end_a_run_early():
    data = synthetic()
    method = build({"name": "joint"}, data)
    outcome = fit(method, data, limits={2: 1.1})
    assert outcome.stopped
    assert len(outcome.curve) == 2


def test_the_best_epochs_weights_are_kept():
    data = synthetic()
    method = build({"name": "joint"}, data)
    outcome = fit(method, data, dataclasses.replace(SETTINGS, epochs=8))
    values = [entry["validation/accuracy"] for entry in outcome.curve]
    assert outcome.best_epoch == 1 + values.index(max(values))
    scores = all_scores(method.task, evaluate(method, splits_of(data, method, 0).validation))
    assert scores["accuracy"] == max(values)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "step", "plateau"])
def test_every_optimizer_and_schedule_trains(optimizer, schedule):
    data = synthetic()
    method = build({"name": "joint"}, data)
    lr = 0.1 if optimizer == "sgd" else 0.01
    settings = dataclasses.replace(
        SETTINGS, epochs=6, lr=lr, optimizer=optimizer, schedule=schedule, clip=1.0
    )
    losses = [entry["loss/loss"] for entry in fit(method, data, settings).curve]
    assert losses[-1] < losses[0]


def test_bfloat16_autocast_trains():
    data = synthetic()
    method = build({"name": "ogm"}, data)
    losses = [
        e["loss/loss"] for e in fit(method, data, dataclasses.replace(SETTINGS, precision="bf16")).curve
    ]
    assert losses[-1] < losses[0]
    assert all(p.dtype == torch.float32 for p in method.parameters())


def test_unknown_names_are_told_in_a_sentence():
    data = synthetic()
    with pytest.raises(UserError, match="unknown method 'jonit'; did you mean 'joint'"):
        build({"name": "jonit"}, data)
    with pytest.raises(UserError, match="unknown hyper-parameter 'tua' in method 'lfm'; did you mean 'tau'"):
        build({"name": "lfm", "tua": 1.0}, data)
    with pytest.raises(UserError, match="unknown modality 'm9'"):
        build_method(data.spec, {"m9": {"name": "mlp"}}, {"name": "concat"}, {"name": "joint"}, 0)


def test_training_does_not_disturb_the_callers_randomness_of_building(tmp_path: Path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    build({"name": "uniform"}, synthetic())
    assert torch.equal(torch.rand(3), expected)


def test_train_reports_every_epoch():
    data = synthetic()
    method = build({"name": "lfm"}, data)
    seen = []
    train(method, splits_of(data, method, 0), SETTINGS, 0, on_epoch=seen.append)
    assert [e["epoch"] for e in seen] == [1, 2, 3]
    assert {
        "alpha",
        "loss/classification",
        "validation/accuracy",
        "validation/accuracy/m0",
        "validation/gap",
    } <= set(seen[-1])


@pytest.mark.parametrize("case", EVERY)
def test_what_a_method_says_of_each_row_is_exported(case):
    data = synthetic()
    method = build(case.named, data, fusion=fusion_of(case))
    feed = splits_of(data, method, 0).validation
    found = evaluate(method, feed, batch_size=10)
    said = method.eval()(feed.batch(torch.arange(len(feed)))).extra
    assert set(found.extra) == set(said)
    assert all(value.shape == tuple(said[name].shape) for name, value in found.extra.items())


def test_a_run_that_limits_ended_goes_on_when_they_are_lifted(tmp_path):
    data, path = synthetic(), tmp_path / "checkpoint.pt"
    whole, ended, resumed = (build({"name": "joint"}, data) for _ in range(3))
    expected = fit(whole, data)
    assert fit(ended, data, limits={2: 1.1}, resume=path).stopped
    assert fit(resumed, data, resume=path) == expected
    assert all(torch.equal(p, weights(resumed)[name]) for name, p in weights(whole).items())


@pytest.mark.parametrize(
    ("name", "value"), [("epochs", 0), ("batch_size", 0), ("lr", -0.1), ("lr", math.nan)]
)
def test_settings_out_of_range_are_told(name, value):
    with pytest.raises(UserError, match=f"train.{name} is {value}; admissible"):
        dataclasses.replace(SETTINGS, **{name: value})


def test_an_encoder_is_chosen_by_modality_then_by_kind_of_input_then_by_default():
    data = synthetic(3, kind="image")
    encoders = {"m0": {"name": "mlp", "dim": 5}, "image": {"name": "convnet", "dim": 7}}
    method = build_method(data.spec, encoders, {"name": "concat"}, {"name": "joint"}, 0)
    assert [e.dim for e in method.net.encoders.values()] == [5, 7, 7]
    default = build_method(
        data.spec, {"vector": {"name": "mlp", "dim": 5}}, {"name": "concat"}, {"name": "joint"}, 0
    )
    assert {e.dim for e in default.net.encoders.values()}.isdisjoint({5})
