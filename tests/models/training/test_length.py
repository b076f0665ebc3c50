"""How long a run trains: passes over few rows, and patience."""

from __future__ import annotations

import pytest
import torch

from sweeper.models.training.settings import Settings
from sweeper.models.values import Phase
from tests.models.cases import fit, resumed, same, synthetic
from tests.models.toys import Recorded, method_on

DATA = synthetic(train=24, validation=16, test=8)


def trained(cls=Recorded, **settings):
    method = method_on(cls, DATA)
    outcome = fit(method, DATA, Settings(batch_size=8, lr=0.1, **settings))
    return method, outcome


@pytest.mark.parametrize(("least", "passes"), [(0, 1), (6, 1), (7, 2), (12, 2), (13, 3)])
def test_an_epoch_passes_over_the_rows_as_often_as_the_steps_of_all_epochs_ask(least, passes):
    method, outcome = trained(epochs=2, least_steps=least)
    assert len(outcome.curve) == 2
    assert len(method.seen) == 2 * passes * 3
    assert [ctx.step for ctx in method.contexts] == list(range(len(method.seen)))
    for begin in range(0, len(method.seen), 3):
        rows = torch.cat([batch.index for batch in method.seen[begin : begin + 3]])
        assert sorted(rows.tolist()) == list(range(24))


def test_passes_have_orders_of_their_own():
    method, _ = trained(epochs=2, least_steps=12)
    batches = [batch.index.tolist() for batch in method.seen]
    assert len({str(batches[n : n + 3]) for n in range(0, 12, 3)}) == 4


def test_warm_up_goes_on_over_passes():
    class Rates(Recorded):
        def modulate(self, objective, ctx):
            self.told = [*getattr(self, "told", []), ctx.lr]

    method, _ = trained(Rates, epochs=2, least_steps=12, warmup=1.0)
    assert method.told == pytest.approx([0.1 * min(n / 6, 1) for n in range(1, 13)])


@pytest.mark.parametrize(("patience", "epochs"), [(None, 8), (1, 2), (2, 3), (7, 8), (9, 8)])
def test_patience_counts_epochs_without_a_better_one(patience, epochs):
    """The learning rate is 0, so that no epoch is better than the first."""
    method = method_on(Recorded, DATA)
    outcome = fit(method, DATA, Settings(epochs=8, lr=0.0, batch_size=8, patience=patience))
    assert len(outcome.curve) == epochs
    assert outcome.best_epoch == 1
    assert not outcome.stopped


def test_a_phase_that_keeps_its_last_epoch_has_all_of_them():
    class Phased(Recorded):
        def phases(self, epochs):
            return [Phase("one", epochs, keep="best"), Phase("two", 5, keep="last")]

    method = method_on(Phased, DATA)
    outcome = fit(method, DATA, Settings(epochs=8, lr=0.0, batch_size=8, patience=2))
    assert [ctx.phase.name for ctx in method.contexts[::3]] == ["one"] * 3 + ["two"] * 5
    assert outcome.best_epoch == 8


@pytest.mark.parametrize("killed", [1, 3, 4])
def test_a_run_of_several_passes_that_was_interrupted_is_the_same(killed, tmp_path):
    settings = Settings(epochs=8, least_steps=48, lr=0.3, batch_size=8, patience=2)
    whole = method_on(Recorded, DATA)
    expected = fit(whole, DATA, settings)
    assert 4 < len(expected.curve) < 8
    path = tmp_path / "checkpoint.pt"
    method, outcome = resumed(lambda: method_on(Recorded, DATA), DATA, path, settings, killed=killed)
    assert outcome == expected
    assert same(method.state_dict(), whole.state_dict())


def test_what_ended_by_patience_has_ended_when_it_is_begun_again(tmp_path):
    settings, path = Settings(epochs=8, lr=0.0, batch_size=8, patience=2), tmp_path / "checkpoint.pt"
    fit(method_on(Recorded, DATA), DATA, settings, resume=path)
    again = method_on(Recorded, DATA)
    assert len(fit(again, DATA, settings, resume=path).curve) == 3
    assert not again.seen
