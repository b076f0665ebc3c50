"""Replays: the planner itself, answered from recorded runs, against choices and costs worked out by hand."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import pytest

from sweeper.cli import main
from sweeper.ledger.file import Ledger
from sweeper.ledger.history import History
from sweeper.ledger.records import Announced, ArmPlan, Proposed, RunRecord, Shared
from sweeper.planning.pooled import pooled, spanned
from sweeper.planning.replay import Pool, Rule, pools, replay, replays, search_of, table, told
from sweeper.study.schema import Final, Layout, Search, Select

AXES = {"dataset": "d", "encoders": "e", "fusion": "f", "method": "m"}
EPOCHS = 6


def run(k, seed, values, status="done", stage="search", arm="a"):
    return RunRecord(
        key=f"{arm}{k}-{seed}",
        status=status,
        arm=arm,
        configuration=k,
        stage=stage,
        seed=seed,
        metrics={"validation": {"accuracy": max(values, default=math.nan)}},
        curve=list(values),
        epochs=len(values),
        seconds=10.0 * len(values),
    )


def curve(best, slow=0.0):
    """A curve that ends at `best`; a slow one has nothing to show before its second half."""
    return [0.0 if e <= EPOCHS * slow else best * e / EPOCHS for e in range(1, EPOCHS + 1)]


def pool_of(values, seeds=2, slow=None):
    """A pool whose configuration k ends at values[k], plus a hundredth under every later seed."""
    records = {
        (k, s): run(k, s, curve(v + 0.01 * s, 0.5 if k == slow else 0.0))
        for k, v in enumerate(values)
        for s in range(seeds)
    }
    return Pool(
        name="a",
        axes=AXES,
        metric="accuracy",
        seeds=tuple(range(seeds)),
        configurations=tuple({"x": float(k)} for k in range(len(values))),
        records=records,
    )


def history(records, seeds=(0, 1)):
    plan = Announced(
        study="s",
        arms=(ArmPlan(key="a", axes=AXES),),
        search=Search(seeds=list(seeds)),
        final=Final(),
        select=Select(),
        layout=Layout(),
    )
    proposed = [Proposed(arm="a", configuration=k, parameters={"x": float(k)}) for k in range(4)]
    return History(plan, [plan, *proposed, *records])


def test_without_rules_the_best_is_chosen_and_every_epoch_spent():
    pool = pool_of([0.5, 0.9, 0.7])
    for order in range(4):
        found = replay(pool, Rule(), order)
        assert (found.chosen, found.epochs, found.seconds, found.regret) == (1, 36, 360.0, 0.0)


def test_racing_spends_what_its_rungs_hold():
    pool = pool_of([0.5, 0.9, 0.7, 0.6, 0.2, 0.1], seeds=4)
    for order in (0, 5):
        assert replay(pool, Rule(racing="halving"), order).epochs == (6 + 3 * 1 + 2 * 2) * EPOCHS
        assert (
            replay(pool, Rule(racing="elimination"), order).epochs == (6 + 2 * 1) * EPOCHS
        )  # then one leads clearly


def test_racing_by_cost_saves_seconds_where_configurations_differ_in_them():
    pool = pool_of([0.9, 0.8, 0.7, 0.6, 0.2, 0.1], seeds=2)
    dear = {
        key: replace(run, seconds=run.seconds * (6 if key[0] == 1 else 1))
        for key, run in pool.records.items()
    }
    pool = replace(pool, records=dear)
    for order in range(4):
        halving, cost = (replay(pool, Rule(racing=rule), order) for rule in ("halving", "cost"))
        assert halving.seconds == (11 + 8) * 10.0 * EPOCHS
        assert (
            cost.seconds == (11 + 3) * 10.0 * EPOCHS
        )  # two that are cheap go on in the place of the dear one
        assert halving.chosen == cost.chosen == 0


def test_early_stopping_ends_a_recorded_run_where_it_would_have_ended():
    pool, rule = pool_of([0.5, 0.6, 0.7, 0.8, 0.1, 0.2, 0.3, 0.1, 0.2], seeds=1), Rule(early_stopping="once")
    for order in range(6):
        found, (search, numbers) = replay(pool, rule, order), search_of(pool, rule, order)
        at_two_fifths = [pool.records[k, 0].curve[2] for k in numbers]
        known = [at_two_fifths[: max(i - search.ahead + 1, 0)] for i in range(len(numbers))]
        ended = [
            len(k) >= 3 and value < statistics.median(k)
            for value, k in zip(at_two_fifths, known, strict=True)
        ]
        assert found.epochs == sum(3 if early else EPOCHS for early in ended)
        assert found.chosen == 3
        assert any(ended)


def test_regret_is_what_the_choice_lacks_over_all_seeds():
    slow = pool_of([0.5, 0.6, 0.7, 0.65, 0.5, 0.6, 0.95], seeds=1, slow=6)
    found = [replay(slow, Rule(early_stopping="once"), order) for order in range(8)]
    assert {round(o.regret, 6) for o in found if o.chosen != 6} == {0.25}
    assert any(o.chosen == 2 for o in found)
    lost = replays([slow], Rule(early_stopping="once"), 8)
    assert lost.worst == pytest.approx(25.0)
    assert lost.regret == pytest.approx(25.0 * sum(o.chosen != 6 for o in found) / 8)


def test_a_smaller_budget_tries_the_first_of_an_order_and_fewer_seeds():
    pool = pool_of([0.5, 0.9, 0.7, 0.6])
    for order in range(5):
        found = replay(pool, Rule(configurations=2, seeds=1), order)
        assert found.epochs == 2 * EPOCHS
        assert found.regret == pytest.approx(0.9 - pool.means[found.chosen] + 0.005)


def test_a_metric_of_which_less_is_better_is_replayed_the_right_way_round():
    pool = pool_of([0.5, 0.9, 0.7])
    records = {
        place: RunRecord.of({**r.raw(), "metrics": {"validation": {"mae": r.curve[-1]}}})
        for place, r in pool.records.items()
    }
    less = Pool(pool.name, AXES, "mae", pool.seeds, pool.configurations, records)
    assert replay(less, Rule(racing="halving")).chosen == 0


def test_a_replay_is_the_same_every_time():
    pool = pool_of([0.5, 0.9, 0.7, 0.6, 0.3, 0.8])
    for rule in (Rule("halving", "asha"), Rule(sampler="tpe", configurations=4)):
        assert [replay(pool, rule, o) for o in range(3)] == [replay(pool, rule, o) for o in range(3)]


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "cmaes", "nsgaii"])
def test_a_sampler_goes_over_a_pool_without_repeating_itself(sampler):
    pool = pool_of([0.1 * (k % 7) for k in range(12)], seeds=1)
    found = replay(pool, Rule(sampler=sampler), 0)
    assert found.epochs == 12 * EPOCHS
    assert found.regret == 0.0


def test_a_pooled_sampler_takes_the_nearest_that_is_left():
    configurations = [{"x": v} for v in (0.0, 0.4, 0.5, 1.0)]
    space, fixed = spanned(configurations)
    own = pooled(configurations, Search(sampler="qmc"), space, fixed, configurations[0], "max")
    wanted = [own.inner.proposed(k)["x"] for k in (1, 2, 3)]
    left, expected = [0.4, 0.5, 1.0], [0.0]
    for value in wanted:
        expected.append(min(left, key=lambda x, value=value: abs(x - value)))
        left.remove(expected[-1])
    assert [own.ask(k)["x"] for k in range(4)] == expected


def test_the_space_that_configurations_span():
    space, fixed = spanned(
        [
            {"epochs": 5, "lr": 0.001, "mode": "on", "steps": 3, "flag": True},
            {"epochs": 5, "lr": 0.1, "mode": "off", "flag": False},
            {"epochs": 5, "lr": 0.01, "mode": "on", "steps": 1, "flag": False},
        ]
    )
    assert fixed == {"epochs": 5}
    assert (space["lr"].kind, space["lr"].bounds, space["lr"].log) == ("float", (0.001, 0.1), True)
    assert (space["steps"].kind, space["steps"].log, space["steps"].when) == (
        "int",
        False,
        (("mode", ("on",)),),
    )
    assert space["mode"].choices == ("on", "off")
    assert space["flag"].choices == (True, False)


def test_pools_are_made_of_what_ran_to_its_end_under_every_seed():
    whole = [run(k, s, curve(0.5)) for k in (0, 1) for s in (0, 1)]
    short = [run(2, 0, curve(0.5)), run(2, 1, curve(0.5)[:2], status="pruned")]
    shared = [run(3, 0, curve(0.6)), Shared(arm="a", configuration=3, stage="search", seed=1, key="a0-1")]
    final = [run(0, 100, curve(0.9), stage="final")]
    (pool,) = pools(history([*whole, *short, *shared, *final]))
    assert pool.name == "s/m"
    assert pool.configurations == ({"x": 0.0}, {"x": 1.0}, {"x": 3.0})
    assert pool.left_out == 1
    assert pool.grid == 6 * EPOCHS
    assert "Left out: 1 configuration" in told([pool])
    assert pools(history(whole[:2])) == []


def test_a_configuration_that_diverged_counts_as_the_worst():
    runs = [run(k, s, curve(0.5 + 0.1 * k)) for k in (0, 1) for s in (0, 1)]
    runs += [run(2, 0, curve(0.9)), run(2, 1, [], status="diverged")]
    (pool,) = pools(history(runs))
    assert pool.means[2] == -math.inf
    assert replay(pool, Rule(racing="halving")).chosen == 1


def test_the_table_has_a_row_for_every_rule():
    pool = pool_of([0.5, 0.9, 0.7], seeds=4)
    found = [
        replays([pool], rule, 3) for rule in (Rule(), Rule("halving"), Rule(sampler="qmc", configurations=2))
    ]
    lines = table(found).splitlines()
    assert len(lines) == 5
    assert lines[2] == "| recorded | none | none | all | all | 0.0 % | 0.0 % | 0.000 | 0.00 | 1 | 3 |"
    assert table(found, "csv").splitlines()[1] == "recorded,none,none,all,all,0.0 %,0.0 %,0.000,0.00,1,3"


@pytest.fixture
def storage(tmp_path):
    """A storage whose ledger holds a study of two configurations in full."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for record in history([run(k, s, curve(0.5 + 0.1 * k)) for k in (0, 1) for s in (0, 1)]).records:
        ledger.append(record)
    return str(tmp_path)


def test_the_command_prints_a_row_for_every_rule(storage, capsys):
    rules = ["--racing", "none", "halving", "--early-stopping", "none", "--configurations", "1", "2"]
    assert main(["replay", "s", *rules, "--orders", "2", "--storage", storage]) == 0
    said = capsys.readouterr()
    rows = [line for line in said.out.splitlines() if line.startswith("| recorded")]
    cells = [row.split(" | ") for row in rows]
    assert [(c[1], c[3]) for c in cells] == [("none", "1"), ("none", "2"), ("halving", "1"), ("halving", "2")]
    assert "2 configurations × 2 seeds × 6 epochs" in said.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--racing", "halvin"], "did you mean 'halving'"),
        (["--early-stopping", "onc"], "did you mean 'once'"),
        (["--sampler", "grid"], "unknown sampler 'grid'"),
        (["t"], "unknown study 't'"),
        (["--orders", "0"], "--orders is 0; admissible: whole numbers from 1"),
        (["--seeds", "-1"], "--seeds is [-1]; admissible: whole numbers from 0"),
    ],
)
def test_what_cannot_be_replayed_is_told(storage, capsys, arguments, said):
    assert main(["replay", *arguments, "--storage", storage]) == 2
    assert said in capsys.readouterr().err


def test_a_storage_without_whole_runs_says_how_to_record_some(tmp_path, capsys):
    assert main(["replay", "--storage", str(tmp_path)]) == 2
    assert "search.racing: none" in capsys.readouterr().err
