"""Proposals: every sampler is a function of the seed, the number and the results told; Optuna is told the truth."""

from __future__ import annotations

import inspect
import itertools
import math
import subprocess
import sys

import pytest

from sweeper import ROOT
from sweeper.models.errors import UserError
from sweeper.planning.proposals import SAMPLERS
from sweeper.study import space
from sweeper.study.samplers import OF_ONE_METRIC, OPTIONS, options_of
from sweeper.study.space import Cases, Domain

PLAIN = {
    "lr": Domain("float", (0.001, 1.0), log=True),
    "share": Domain("float", (0.0, 1.0)),
    "layers": Domain("int", (1, 4)),
    "kind": Domain("choice", choices=("a", "b")),
}
CONDITIONAL = {
    "mode": Domain("choice", choices=("off", "on")),
    "steps": Domain("int", (1, 20), log=True, when=(("mode", ("on",)),)),
    "rate": Domain("float", (0.1, 1.0), when=(("mode", ("on",)),)),
}
CASES = {
    "mode": Domain("choice", choices=("off", "on")),
    "rate": Cases(
        (
            Domain("float", (0.1, 1.0), log=True, when=(("mode", ("on",)),), case=1),
            Domain("float", (2.0, 3.0), points=16, when=(("mode", ("off",)),), case=2),
        )
    ),
}
DEFAULTS = {"lr": 0.01, "share": 0.5, "layers": 2, "kind": "a"}


OPTUNAS = ("tpe", "random", "gp", "cmaes", "nsgaii")
GUIDED = ("tpe", "gp", "cmaes", "nsgaii")
OF_TWO = [name for name in SAMPLERS if name not in OF_ONE_METRIC]
SMALL = {"cmaes": {"popsize": 4}, "nsgaii": {"population_size": 4}}  # so that a test sees several generations


def made(sampler="tpe", domains=PLAIN, defaults=DEFAULTS, *, directions=("max",), seed=0, fixed=()):
    options = {**options_of(sampler), **SMALL.get(sampler, {})}
    return SAMPLERS[sampler](
        domains, dict(fixed), defaults, directions=directions, seed=seed, options=options
    )


def score(values):
    return -sum(abs(math.log(v)) if isinstance(v, float) and v > 0 else 0.1 for v in values.values())


def played(own, n, ahead=3):
    """Ask for n configurations, telling each result `ahead` later."""
    asked = []
    for k in range(n):
        if k >= ahead:
            own.tell(k - ahead, score(asked[k - ahead]), "complete")
        asked.append(own.ask(k))
    return asked


def both(values):
    """Two values, the first better at a large share, the second at a small one."""
    return [values["share"], values["share"] ** 2 + abs(math.log10(values["lr"]) + 2)]


def played_by_both(own, n, ahead=3):
    """Ask for n configurations by two metrics, telling each result `ahead` later; every fifth fails."""
    asked = []
    for k in range(n):
        if k >= ahead:
            told_both(own, asked, k - ahead)
        asked.append(own.ask(k))
    return asked


def told_both(own, asked, k):
    own.tell(k, *((None, "fail") if k % 5 == 4 else (both(asked[k]), "complete")))


def test_every_sampler_is_reached_by_its_name_in_a_study():
    assert set(OPTIONS) == set(SAMPLERS)
    assert len(set(SAMPLERS.values())) == len(SAMPLERS)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_optuna_is_imported_by_its_own_samplers_alone(sampler):
    code = (
        "import sys; from sweeper.planning.proposals import SAMPLERS; from sweeper.study.space import Domain;"
        " own = SAMPLERS[sys.argv[1]]({'x': Domain('float', (0.0, 1.0))}, {}, {'x': 0.5});"
        " own.ask(0); own.tell(0, 1.0, 'complete'); own.recall(1, own.ask(1)); print('optuna' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, sampler], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == str(sampler in OPTUNAS)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_proposals_lie_in_the_space_begin_with_the_defaults_and_differ(sampler):
    n = 12 if sampler == "gp" else 24  # a Gaussian process takes its time
    asked = played(made(sampler, fixed={"other": 1}), n)
    assert asked[0] == DEFAULTS
    for values in asked[1:]:
        assert values.pop("other") == 1
        assert set(values) == set(PLAIN)
        assert all(PLAIN[name].holds(value) for name, value in values.items())
        assert type(values["layers"]) is int
        assert type(values["lr"]) is float
    again = {"gp": 2, "nsgaii": 8}.get(sampler, 0)  # they look again at what was best
    assert len({repr(values) for values in asked}) >= n - again


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_conditions_hold_in_every_proposal(sampler):
    asked = played(made(sampler, CONDITIONAL, {"mode": "off"}), 16)
    assert {values["mode"] for values in asked} == {"on", "off"}
    for values in asked:
        assert set(values) == ({"mode"} if values["mode"] == "off" else set(CONDITIONAL))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_parameter_lies_in_the_domain_of_its_case(sampler):
    asked = played(made(sampler, CASES, {"mode": "off", "rate": 2.5}), 10)
    assert {values["mode"] for values in asked} == {"on", "off"}
    for values in asked:
        assert CASES["rate"].given(values).holds(values["rate"])


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    ("domains", "defaults"),
    [(PLAIN, DEFAULTS), (CONDITIONAL, {"mode": "off"}), (CASES, {"mode": "off", "rate": 2.5})],
)
def test_a_restart_at_any_number_goes_on_in_the_same_way(sampler, domains, defaults):
    n, restarts = (8, (7,)) if sampler == "gp" else (16, range(1, 16))
    asked = played(made(sampler, domains, defaults), n)
    for restart in restarts:
        again = made(sampler, domains, defaults)
        for k in range(restart):
            if k >= 3:
                again.tell(k - 3, score(asked[k - 3]), "complete")
            again.recall(k, asked[k])
        if restart >= 3:
            again.tell(restart - 3, score(asked[restart - 3]), "complete")
        assert again.ask(restart) == asked[restart]


@pytest.mark.parametrize("sampler", [*GUIDED, "random", "qmc"])
def test_the_seed_decides(sampler):
    assert played(made(sampler, seed=1), 8) == played(made(sampler, seed=1), 8)
    assert played(made(sampler, seed=1), 8)[1:] != played(made(sampler, seed=2), 8)[1:]


@pytest.mark.parametrize("sampler", OF_TWO)
def test_by_two_metrics_a_restart_at_any_number_goes_on_in_the_same_way(sampler):
    n, restarts = (8, (7,)) if sampler == "gp" else (16, range(1, 16, 2))
    asked = played_by_both(made(sampler, directions=("max", "min")), n)
    for restart in restarts:
        again = made(sampler, directions=("max", "min"))
        for k in range(restart):
            if k >= 3:
                told_both(again, asked, k - 3)
            again.recall(k, asked[k])
        if restart >= 3:
            told_both(again, asked, restart - 3)
        assert again.ask(restart) == asked[restart]


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsgaii"])
def test_by_two_metrics_a_guided_sampler_spreads_along_the_front(sampler):
    n = 16 if sampler == "gp" else 40

    def off(sampler):
        """How far from the front, where lr is 0.01 whatever the share, the last proposals lie."""
        own = made(sampler, directions=("max", "min"), defaults={**DEFAULTS, "share": 0.0})
        asked = played_by_both(own, n, ahead=1)[-8:]
        return sum(abs(math.log10(values["lr"]) + 2) for values in asked) / 8, asked

    (guided, asked), (drawn, _) = off(sampler), off("random")
    assert guided < 0.7 * drawn
    assert max(values["share"] for values in asked) - min(values["share"] for values in asked) > 0.3


@pytest.mark.parametrize("direction", ["max", "min"])
def test_being_behind_the_defaults_in_the_first_metric_is_a_violated_constraint(direction):
    own, sign = made(directions=(direction, "min")), 1 if direction == "max" else -1
    for k in range(4):
        own.ask(k)
    own.tell(0, [sign * 0.5, 0.2], "complete")
    own.tell(1, [sign * 0.25, 0.0], "complete")
    own.tell(2, [sign * 0.75, 0.4], "complete")
    own.tell(3, None, "fail")
    trials = [own.study.trials[trial.number] for trial in own.trials]
    assert [list(trial.constraints.values()) for trial in trials] == [[0.0], [0.25], [-0.25], []]
    assert [trial.number for trial in own.study.best_trials] == [trials[0].number, trials[2].number]


def test_without_a_result_of_the_defaults_nothing_is_behind_them():
    own = made(directions=("max", "min"))
    for k in range(2):
        own.ask(k)
    own.tell(0, None, "fail")
    own.tell(1, [0.1, 0.1], "complete")
    assert own.study.trials[own.trials[1].number].constraints == {}


def test_the_grid_is_every_point_once_after_the_defaults():
    own = made("grid")
    asked = [own.ask(k) for k in range(1 + 5 * 5 * 4 * 2)]
    lr, share = PLAIN["lr"].grid(), PLAIN["share"].grid()
    expected = [
        {"lr": a, "share": b, "layers": c, "kind": d}
        for a, b, c, d in itertools.product(lr, share, (1, 2, 3, 4), "ab")
    ]
    assert sorted(map(repr, asked[1:])) == sorted(map(repr, expected))
    assert asked[1:] != expected  # shuffled, so that a smaller budget is no corner of it


def test_the_grid_holds_the_defaults_once_where_they_are_a_point_of_it():
    domains = {"kind": PLAIN["kind"]}
    assert space.points(domains, {}, {"kind": "b"}, 0) == [{"kind": "b"}, {"kind": "a"}]


@pytest.mark.parametrize(
    ("sampler", "domains", "expected"),
    [
        ("tpe", PLAIN, 30),
        ("grid", PLAIN, 30),
        ("grid", {"kind": PLAIN["kind"]}, 2),
        ("tpe", {}, 1),
        ("grid", {}, 1),
    ],
)
def test_the_number_of_configurations(sampler, domains, expected):
    assert space.size(sampler, 30, domains, {}, {k: DEFAULTS[k] for k in domains}) == expected


def test_a_grid_that_cannot_be_listed_is_told(monkeypatch):
    monkeypatch.setattr(space, "LARGEST_GRID", 100)
    for listing in (lambda: space.size("grid", 30, PLAIN, {}, DEFAULTS), lambda: made("grid").ask(1)):
        with pytest.raises(UserError, match="the grid holds more than 100 points"):
            listing()


def test_the_qmc_sequence_covers_every_dimension_evenly():
    n = 16
    asked = [made("qmc", seed=3)]
    asked = [asked[0].ask(k) for k in range(n + 1)][1:]
    strata = {int(n * math.log(values["lr"] / 0.001) / math.log(1000)) for values in asked}
    assert strata == set(range(n))
    assert {int(n * values["share"]) for values in asked} == set(range(n))
    assert sorted(values["layers"] for values in asked) == sorted([1, 2, 3, 4] * 4)
    assert sorted(values["kind"] for values in asked) == sorted("ab" * 8)
    quarters = {(values["lr"] > 0.0316, values["share"] > 0.5, values["kind"]) for values in asked}
    assert len(quarters) == 8


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_default_outside_the_searched_space_is_tried_as_it_is(sampler):
    outside = {"lr": 5.0, "share": 0.5, "layers": 9, "kind": "z"}
    own = made(sampler, defaults=outside)
    asked = played(own, 12)
    assert asked[0] == outside
    if sampler in ("gp", "cmaes", "nsgaii"):
        assert own.study.trials[own.trials[0].number].state.name == "FAIL"
    if sampler == "tpe":
        assert own.study.trials[own.trials[0].number].params == {"share": 0.5}
        assert own.study.trials[own.trials[0].number].value == score(outside)
    assert all(PLAIN[name].holds(value) for values in asked[1:] for name, value in values.items())


def test_optuna_knows_what_it_was_told():
    own = made()
    values = [own.ask(k) for k in range(4)]
    own.tell(1, 0.25, "pruned", 7)
    own.tell(0, 0.5, "complete")
    own.tell(2, None, "fail")
    trials = [own.study.trials[trial.number] for trial in own.trials]
    assert [trial.state.name for trial in trials] == ["COMPLETE", "PRUNED", "FAIL", "RUNNING"]
    assert [trial.value for trial in trials] == [0.5, 0.25, None, None]
    assert [trial.intermediate_values for trial in trials] == [{}, {7: 0.25}, {}, {}]
    assert [trial.params for trial in trials] == values


@pytest.mark.parametrize(("direction", "sign"), [("max", 1), ("min", -1)])
@pytest.mark.parametrize("sampler", GUIDED)
def test_a_guided_sampler_goes_where_the_results_are_better(sampler, direction, sign):
    n = 12 if sampler == "gp" else 40

    def found(sampler):
        own, asked = made(sampler, directions=(direction,)), []
        for k in range(n):
            asked.append(own.ask(k))
            own.tell(k, -sign * (math.log10(asked[k]["lr"]) + 2) ** 2, "complete")
        return sum(abs(math.log10(values["lr"]) + 2) for values in asked[-8:]) / 8

    assert found(sampler) < 0.6 * found("random")


def test_a_sampler_that_knows_no_conditions_sees_what_does_not_count_as_the_middle():
    own = made("gp", CASES, {"mode": "off", "rate": 2.5})
    own.recall(0, {"mode": "off", "rate": 2.75})
    own.recall(1, {"mode": "on", "rate": 0.1})
    assert [trial.params for trial in own.trials] == [
        {"mode": "off", "rate": 0.75},
        {"mode": "on", "rate": 0.0},
    ]
    own = made("gp", CONDITIONAL, {"mode": "off"})
    own.recall(0, {"mode": "off"})
    assert own.trials[0].params == {"mode": "off", "steps": 0.5, "rate": 0.5}


def test_a_sampler_that_learns_from_whole_runs_sees_one_ended_early_as_the_worst_of_them():
    own = made("gp")
    for k in range(5):
        own.ask(k)
    own.tell(0, 0.9, "pruned", 2)  # nothing to compare it with yet
    own.tell(1, 0.5, "complete")
    own.tell(2, 0.3, "complete")
    own.tell(3, 0.8, "pruned", 2)
    own.tell(4, None, "fail")
    trials = [own.study.trials[trial.number] for trial in own.trials]
    assert [trial.state.name for trial in trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE", "FAIL"]
    assert [trial.value for trial in trials] == [None, 0.5, 0.3, 0.3, None]


def test_every_option_is_one_of_optunas():
    import optuna

    classes = {
        "tpe": optuna.samplers.TPESampler,
        "gp": optuna.samplers.GPSampler,
        "cmaes": optuna.samplers.CmaEsSampler,
        "nsgaii": optuna.samplers.NSGAIISampler,
    }
    for name, options in OPTIONS.items():
        if options:
            assert set(options) <= set(inspect.signature(classes[name]).parameters)
    assert {name for name, options in OPTIONS.items() if options} == set(classes)


def test_tpe_learns_from_pruned_trials_and_not_from_failed_ones():
    def later(state):
        own, asked = made(), []
        for k in range(30):
            asked.append(own.ask(k))
            bad = asked[k]["lr"] > 0.03
            own.tell(k, None if bad and state == "fail" else -float(bad), state if bad else "complete", 1)
        return sum(values["lr"] > 0.03 for values in asked[15:])

    assert later("pruned") <= 3


def test_tpe_avoids_what_is_running():
    # ten proposals without a result in between: those that are running count as bad, so they spread
    own = made(domains={"share": PLAIN["share"]}, defaults={"share": 0.5})
    for k in range(8):
        own.tell(k, -abs(own.ask(k)["share"] - 0.3), "complete")
    spread = sorted(own.ask(k)["share"] for k in range(8, 18))
    assert spread[-1] - spread[0] > 0.2
    assert len(set(spread)) == 10
