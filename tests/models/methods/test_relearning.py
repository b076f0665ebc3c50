"""Diagnosing and re-learning: purity by hand, when encoders go back, how far, and what stays."""

import copy
import dataclasses
import math
from collections import defaultdict

import numpy as np
import pytest
import torch

from sweeper.models.errors import UserError
from sweeper.models.methods.relearning import Relearning, clustered, purity, scaled, towards
from sweeper.models.schema.entries import entry
from sweeper.models.values import Batch
from tests.models.cases import SETTINGS, build, fit, same, synthetic
from tests.models.toys import CLASSES, FEATURES, ROWS, THREE, TWO, Normed, batch_of, context, method_of


@pytest.mark.parametrize(
    ("clusters", "target", "by_hand"),
    [
        ([0, 0, 1, 1], [2, 2, 0, 0], 1.0),
        ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2], 4 / 6),
        ([0, 0, 0, 0], [0, 1, 2, 3], 0.25),
        ([0, 1, 2, 3], [0, 0, 0, 0], 1.0),
        ([0, 1, 0, 1, 0], [3, 3, 1, 3, 3], 4 / 5),
    ],
)
def test_purity_is_the_share_of_each_clusters_most_frequent_class(clusters, target, by_hand):
    assert purity(np.array(clusters), np.array(target)) == pytest.approx(by_hand)


def test_features_are_scaled_by_the_extremes_of_their_set():
    features = np.array([[1.0, 5.0, 2.0], [3.0, 5.0, -2.0], [2.0, 5.0, 1.0]])
    assert scaled(features).tolist() == [[-1, -1, 1], [1, -1, -1], [0, -1, 0.5]]


def test_clusters_are_those_of_well_apart_groups_and_no_more_than_rows():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(3), 20)
    features = np.eye(3)[group] + 0.01 * rng.normal(size=(60, 3))
    assert purity(clustered(features, 3, 0), group) == 1.0
    assert purity(group, clustered(features, 3, 0)) == 1.0
    assert set(clustered(features[:2], 3, 0)) == {0, 1}
    assert set(clustered(np.zeros((9, 2)), 3, 0)) == {0}


def test_parameters_move_by_a_share_of_the_way_back_and_statistics_stay():
    encoder, initial = (
        copy.deepcopy(method_of(Relearning, encoder=Normed).net.encoders["red"]) for _ in "ab"
    )
    with torch.no_grad():
        for p in encoder.parameters():
            p.add_(1.0)
    encoder.body[1].running_mean.fill_(7.0)
    towards(encoder, initial, 0.25)
    for p, q in zip(encoder.parameters(), initial.parameters(), strict=True):
        assert torch.allclose(p, 0.25 * q + 0.75 * (q + 1))
    assert (encoder.body[1].running_mean == 7.0).all()


def informed(rows, modalities, told):
    """Rows whose modalities that are `told` say what class they are of, the others nothing."""
    batch = batch_of(modalities, rows)
    centre = 10.0 * torch.eye(CLASSES, FEATURES)[batch.target]
    inputs = {m: centre + 0.01 * x if m in told else torch.randn(x.shape) for m, x in batch.inputs.items()}
    return Batch(inputs, batch.target, batch.index)


def linear(modalities=TWO, **options):
    """A method whose features are its inputs, and whose parameters are all one more than initially."""
    method = method_of(Relearning, modalities, widths=FEATURES, **options)
    for m in method.net.encoders:
        method.net.encoders[m].pooled = lambda x, mask=None: x
    with torch.no_grad():
        for p in method.net.parameters():
            p.add_(1.0)
    return method


def at(method, epoch, train, held_out, epochs=90):
    logged = defaultdict(list)
    method.on_epoch_start(context(epoch=epoch, epochs=epochs, train=train, held_out=held_out, logged=logged))
    return {name: values[0] for name, values in logged.items()}


def test_an_encoder_goes_back_the_further_the_worse_held_out_rows_are_told_apart():
    torch.manual_seed(0)
    method = linear()
    before, head = copy.deepcopy(method.net.encoders), copy.deepcopy(method.net.fusion.state_dict())
    held_out = informed(40, TWO, {"green"})
    logged = at(method, 20, [informed(40, TWO, TWO), informed(30, TWO, TWO)], [held_out])
    assert logged["purity/red"] == logged["purity/green"] == logged["held_out_purity/green"] == 1.0
    assert logged["relearned/green"] == 0.0
    assert 0.3 < logged["held_out_purity/red"] < 0.7
    w = math.tanh(3.0 * (1.0 - logged["held_out_purity/red"]))
    assert logged["relearned/red"] == pytest.approx(w)
    assert same(method.net.encoders["green"].state_dict(), before["green"].state_dict())
    initial = dict(method.initial["red"].named_parameters())
    for name, p in method.net.encoders["red"].named_parameters():
        assert torch.allclose(p, w * initial[name] + (1 - w) * (initial[name] + 1), atol=1e-6), name
    assert same(method.net.fusion.state_dict(), head)


def test_a_gap_either_way_counts():
    torch.manual_seed(0)
    good, bad = [informed(40, TWO, TWO)], [informed(40, TWO, ())]
    there, back = (at(linear(), 20, *sets) for sets in ((good, bad), (bad, good)))
    assert there["relearned/red"] > 0.5
    assert back["relearned/red"] == pytest.approx(there["relearned/red"])


@pytest.mark.parametrize(
    ("options", "epochs", "by_hand"),
    [
        ({}, 90, [20, 40, 60]),
        ({}, 30, [7, 14, 21]),
        ({}, 3, [1, 2]),
        ({}, 1, []),
        ({"count": 1}, 90, [20]),
        ({"count": 0}, 90, []),
        ({"period": 0.1, "count": 5}, 40, [4, 8, 12, 16, 20]),
    ],
)
def test_it_happens_at_most_count_times_and_never_at_the_beginning(options, epochs, by_hand):
    method, rows = linear(("red",), **options), [informed(12, ("red",), ("red",))]
    assert [epoch for epoch in range(epochs) if at(method, epoch, rows, rows, epochs)] == by_hand


def test_rows_that_lack_a_modality_are_left_out_of_its_purity():
    torch.manual_seed(0)
    there = torch.arange(40) % 2 == 0
    told, untold = informed(40, THREE, THREE), informed(40, THREE, ())
    mixed = {m: torch.where(there[:, None], told.inputs[m], untold.inputs[m]) for m in THREE}
    nowhere = torch.zeros(40, dtype=torch.bool)
    batch = Batch(mixed, told.target, told.index, {"red": there, "blue": nowhere})
    logged = at(linear(THREE), 20, [batch], [batch])
    assert logged["purity/red"] == 1.0
    assert logged["purity/green"] < 1.0
    assert "purity/blue" not in logged


def test_no_held_out_rows_no_diagnosis():
    assert not at(linear(), 20, [informed(ROWS, TWO, TWO)], [])


def test_measuring_is_in_evaluation_mode_and_leaves_no_trace():
    method = method_of(Relearning, encoder=Normed, strength=0.0).train()
    before = copy.deepcopy(method.state_dict())
    assert at(method, 20, [batch_of()], [batch_of()])
    assert same(before, method.state_dict())
    assert method.net.encoders["red"].training


def test_a_run_diagnoses_on_rows_that_it_does_not_train_on_and_keeps_where_it_began():
    data = synthetic(train=48, validation=32, test=8)
    method = build({"name": "relearning"}, data)
    initial = copy.deepcopy(method.net.encoders.state_dict())
    curve = fit(method, data, dataclasses.replace(SETTINGS, epochs=9)).curve
    found = [entry["epoch"] - 1 for entry in curve if "relearned/m0" in entry]
    assert found == [2, 4, 6]
    assert all(0 < entry["relearned/m0"] < 1 for entry in curve if "relearned/m0" in entry)
    assert same(method.initial.state_dict(), initial)
    assert method.held_out == 0.1
    assert build({"name": "relearning", "count": 0}, data).held_out == 0.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strength": -1.0}, "strength is -1.0; admissible: a number from 0"),
        ({"period": 0.0}, "period is 0.0; admissible: a number above 0 and below 1"),
        ({"count": -1}, "count is -1; admissible: a whole number from 0"),
    ],
)
def test_inadmissible_values_are_refused_in_a_sentence(options, words):
    with pytest.raises(UserError, match=words):
        entry("method", "relearning").check(options)
