"""The planner on a simulated clock: fabricated learning curves, random durations, any number of slots, restarts."""

from __future__ import annotations

import hashlib
import heapq
import io
import math
import random
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sweeper.ledger.file import Ledger
from sweeper.ledger.history import History
from sweeper.ledger.records import RunRecord, Selected, Shared
from sweeper.planning import preview
from sweeper.planning.planner import Planner
from sweeper.planning.race import SAME_ERROR_STOPS
from sweeper.planning.racing import RULES
from sweeper.reports.caption import caption
from sweeper.service.progress import Progress, line
from sweeper.service.run import reusing
from sweeper.service.session import announcement, as_record, proposals
from sweeper.study.schema import parse
from sweeper.study.unfold import unfold
from sweeper.tracking import view

LR = {"train.lr": {"float": [0.0001, 1.0], "log": True}, "train.weight_decay": 0.0, "train.batch_size": 64}
SIX = {**LR, "train.lr": {"choice": [0.001, 0.01, 0.1]}, "train.batch_size": {"choice": [32, 64]}}
STUDY = {
    "study": "simulated",
    "dataset": "synthetic",
    "methods": ["joint", {"name": "ogm", "space": {"ge": False}}, "label_smoothing"],
    "space": LR,
    "search": {"configurations": 9, "seeds": [0, 1, 2, 3]},
    "final": {"seeds": [100, 101]},
    "train": {"epochs": 18, "optimizer": "sgd"},
}
PER_ARM = (
    9 + 5 + 2 * 3 + 2
)  # 9 start, 5 earn a second seed, 3 a third and fourth, one runs on the report seeds
KINDS = {
    "tpe, halving, asha": {"early_stopping": "asha"},
    "tpe, elimination, once": {"racing": "elimination", "early_stopping": "once"},
    "tpe, no racing, asha": {"racing": "none", "seeds": [0, 1], "early_stopping": "asha"},
    "qmc, halving": {"sampler": "qmc"},
    "cmaes, cost, once": {
        "sampler": {"name": "cmaes", "popsize": 4},
        "racing": "cost",
        "early_stopping": "once",
    },
    "grid, halving, median": {"sampler": "grid", "early_stopping": "median"},
    "random, ahead 1": {"sampler": "random", "ahead": 1},
    "tpe, ahead 7": {"ahead": 7, "early_stopping": "asha"},
    "tpe, a time that is too short for all": {"hours": 36 / 3600},
}


def study_of(search=(), **changes):
    return parse({**STUDY, **changes, "search": {**STUDY["search"], **dict(search)}})


def joint(search=(), **changes):
    """A study of one arm."""
    return study_of(search, methods=["joint"], **changes)


# The world: what a run's curve would be, and what a worker returns


def noise(*what):
    """A number from -0.5 to 0.5 that depends on `what` alone."""
    return int(hashlib.sha256(repr(what).encode()).hexdigest()[:8], 16) / 2**32 - 0.5


def quality(payload):
    """Accuracy after endless training: best at a learning rate near 10**-1.6, a bit apart for each method."""
    off = math.log10(payload["train"]["lr"]) + 1.6 - 0.3 * noise(payload["method"]["name"])
    return 0.9 - 0.08 * off**2 + 0.02 * noise(payload["seed"], payload["method"])


def curve_of(payload):
    lr, epochs = payload["train"]["lr"], payload["train"]["epochs"]
    grown = [quality(payload) * (1 - math.exp(-5 * e / epochs)) for e in range(1, epochs + 1)]
    return [value + 0.01 * noise(payload["seed"], lr, e) for e, value in enumerate(grown)]


def result_of(status, accuracy, curve):
    metrics = {"validation": {"accuracy": accuracy}, "test/clean": {"accuracy": accuracy - 0.02}}
    return {"status": status, "metrics": metrics, "curve": curve, "epochs": len(curve), "seconds": 1.0}


def train(run):
    """What a worker returns: the curve up to where the run's limits end it."""
    curve = curve_of(run.payload)
    end = next((e for e in range(1, len(curve)) if curve[e - 1] < run.limits.get(str(e), -1)), None)
    return result_of("done" if end is None else "pruned", curve[:end][-1], curve[:end])


def error(status, kind, message):
    return {"status": status, "error": {"class": kind, "message": message}, "seconds": 1.0}


def rough(run):
    """Like `train`, but where a hash says so the run diverges or measures nothing."""
    what = (run.payload["train"]["lr"], run.seed)
    if run.configuration and noise("diverged", *what) < -0.38:
        return error("diverged", "diverged", "loss is nan")
    found = train(run)
    if run.configuration and noise("nan", *what) < -0.3 and found["status"] == "done":
        found["metrics"]["validation"]["accuracy"] = math.nan
    return found


def failing(run):
    """Like `rough`, but some runs fail, too."""
    if run.configuration and noise("failing", run.payload["train"]["lr"], run.seed) < -0.35:
        return error("failed", "OOM", f"at lr {run.payload['train']['lr']}")
    return rough(run)


# The clock


class Book(Ledger):
    """A ledger in memory."""

    def __init__(self):
        super().__init__(Path("/dev/null"))

    def append(self, record):
        self._index(record)


@dataclass
class Life:
    """A driver's life: its planner, the ledger it left, the runs it carried out in the order they finished."""

    planner: Planner
    book: Book
    ran: list

    @property
    def race(self):
        return self.planner.races[0]

    @property
    def keys(self):
        return {run.key for run in self.ran}

    @property
    def selections(self):
        """What was selected last of each arm."""
        return {r.arm: r for r in self.book.of(Selected)}

    @property
    def selected(self):
        """The number of the configuration that the first arm selected."""
        return self.selections[self.race.arm.key].configuration

    @property
    def outcome(self):
        """All that must not depend on timing or restarts."""
        return {
            "proposed": proposals([], self.book),
            "selected": self.selections,
            "runs": set(self.book.runs),
            "left": [(race.stage, race.alive, race.stopped) for race in self.planner.races],
        }

    @property
    def told(self):
        """What Optuna knows of each configuration of each arm; the other samplers ask it nothing."""
        asked = [r.proposals for r in self.planner.races if hasattr(r.proposals, "trials")]
        trials = [[own.study.trials[t.number] for t in own.trials] for own in asked]
        return [[(t.state.name, t.values, t.intermediate_values, t.params) for t in arm] for arm in trials]

    def seeds(self, stage="search"):
        """Return {configuration: seeds in the order they ran}."""
        found = {}
        for run in self.ran:
            if run.stage == stage:
                found.setdefault(run.configuration, []).append(run.seed)
        return found


def arms_of(study, book, code=None):
    """A study's arms, as they are or as they would be under other code."""
    arms = [replace(arm, code=code) if code else arm for arm in unfold(study)]
    return reusing(study, arms, book)


def plan(study, book, code=None):
    return Planner(study, arms_of(study, book, code), book.runs, proposals([], book), book.note)


def settle(planner, run, result):
    planner.settle(run.key, as_record(planner.study, run, result, {}))


def simulate(study, worker=train, *, slots=1, clock=0, book=None, die_after=math.inf, code=None):
    """Carry out a study on `slots` workers whose runs take times drawn from `clock`.

    After `die_after` finished runs the driver dies and what was running is lost.
    """
    book = book or Book()
    draw, ran, planner = random.Random(clock), [], plan(study, book, code)
    busy, now = [], 0.0
    while len(ran) < die_after:
        while len(busy) < slots and (run := planner.take()) is not None:
            heapq.heappush(busy, (now + draw.choice([1, 10, 100]) * draw.random(), draw.random(), run))
        if not busy:
            assert planner.finished
            break
        now, _, run = heapq.heappop(busy)
        ran.append(run)
        record = as_record(study, run, worker(run), {"git": "g"})
        book.append(record)
        planner.settle(run.key, record)
    return Life(planner, book, ran)


# Timing


@pytest.mark.parametrize("search", KINDS.values(), ids=KINDS)
def test_slots_and_durations_change_nothing(search):
    study = study_of(search)
    first = simulate(study, failing)
    assert len(first.keys) == len(first.ran)
    for slots, clock in ((2, 1), (7, 2), (7, 3)):
        again = simulate(study, failing, slots=slots, clock=clock)
        assert again.outcome == first.outcome
        assert again.told == first.told


def test_a_configuration_is_proposed_from_all_results_up_to_ahead_before_it():
    planner = plan(joint({"configurations": 8, "ahead": 3}), Book())
    runs = [planner.take() for _ in range(3)]
    assert [run.configuration for run in runs] == [0, 1, 2]
    assert planner.take() is None
    for run in runs[:0:-1]:  # 2 and 1 are done, 0 is not
        settle(planner, run, train(run))
        assert planner.take() is None
    settle(planner, runs[0], train(runs[0]))
    assert [planner.take().configuration for _ in range(3)] == [3, 4, 5]
    assert planner.take() is None


@pytest.mark.parametrize("kind", ["tpe, halving, asha", "tpe, elimination, once"])
def test_arms_and_configurations_that_share_runs_do_not_depend_on_timing(kind):
    # of six points twelve configurations repeat some, and the two arms overlap under different limits
    narrow = {"name": "joint", "label": "narrow", "space": {"train.batch_size": 64}}
    study = study_of({**KINDS[kind], "configurations": 12}, methods=["joint", narrow], space=SIX)
    first = simulate(study)
    assert len(first.book.runs) < sum(len(race.runs) for race in first.planner.races)
    assert len({repr(values) for values in first.race.configurations}) < 12
    for slots, clock in ((1, 1), (2, 1), (3, 5), (7, 2), (7, 3)):
        again = simulate(study, slots=slots, clock=clock)
        assert again.outcome == first.outcome
        assert again.told == first.told


def test_a_run_that_one_arm_ended_early_goes_on_for_an_arm_that_waited_for_it_in_full():
    fixed = {"name": "joint", "label": "fixed", "space": {"train.lr": 0.1}}
    search = {"sampler": "grid", "early_stopping": "asha", "ahead": 1, "seed": 5}
    planner = plan(study_of(search, methods=["joint", fixed], space=SIX), Book())
    searching, waiting = planner.races

    def finish(run, value):
        settle(planner, run, result_of("done", value, [value] * 18))

    one, held = planner.take(), planner.take()  # of the searching arm, of the other
    for _ in range(3):
        finish(one, 0.9)
        one = planner.take()
    assert one.arm == searching.arm
    assert one.limits == {"2": 0.9, "6": 0.9}
    finish(held, 0.1)
    assert planner.take() is None  # the other arm wants the same run next, and in full
    assert [(run.key, run.limits) for run in waiting.open] == [(one.key, {})]
    settle(planner, one, result_of("pruned", 0.1, [0.1, 0.1]))
    again = next(run for run in iter(planner.take, None) if run.arm == waiting.arm)
    assert (again.key, again.limits) == (one.key, {})
    finish(again, 0.1)
    assert waiting.record(again).status == "done"
    assert searching.record(one).status == "pruned"


# Restarts


@pytest.mark.parametrize("search", KINDS.values(), ids=KINDS)
def test_a_driver_that_dies_again_and_again_ends_with_the_same(search):
    study = study_of(search, methods=STUDY["methods"][:2])
    whole = simulate(study, rough)
    for die_after, slots in ((1, 2), (3, 1), (7, 5)):
        ran, life = [], simulate(study, rough, slots=slots, die_after=die_after)
        while not life.planner.finished:
            ran += life.ran
            clock = len(ran)
            life = simulate(study, rough, slots=slots, clock=clock, book=life.book, die_after=die_after)
        ran += life.ran
        assert life.outcome == whole.outcome
        assert life.told == whole.told
        assert len(ran) == len({run.key for run in ran})


def test_a_restart_after_the_end_runs_nothing_and_notes_nothing():
    whole = simulate(study_of())
    before = list(whole.book.records)
    again = simulate(study_of(), book=whole.book)
    assert again.ran == []
    assert again.book.records == before


def test_a_restart_with_runs_in_flight_proposes_what_would_have_been_proposed():
    # the space is conditional: what Optuna drew for inactive parameters of running trials must not count
    study = study_of({"configurations": 14}, methods=["lfm"])
    whole = simulate(study)
    for died in (8, 10, 12):
        book = simulate(study, slots=4, clock=died, die_after=died).book
        assert simulate(study, slots=4, book=book).outcome == whole.outcome


def test_failed_runs_are_tried_again_after_a_restart_and_no_others():
    whole = simulate(joint(), failing)
    failed = {key for key, record in whole.book.runs.items() if record.status == "failed"}
    again = simulate(joint(), book=whole.book)
    assert failed
    assert failed <= again.keys
    assert not (whole.keys - failed) & again.keys


# Arms


def test_arms_take_turns():
    names = [run.arm.method.name for run in simulate(study_of()).ran]
    assert names == ["joint", "ogm", "label_smoothing"] * PER_ARM


def test_an_arm_whose_runs_never_end_holds_up_nobody():
    planner, stuck = plan(study_of({"ahead": 2}), Book()), set()
    while (run := planner.take()) is not None:
        if run.arm.method.name == "ogm":
            stuck.add(run.key)
        else:
            settle(planner, run, train(run))
    assert [race.stage for race in planner.races] == ["over", "propose", "over"]
    assert len(stuck) == 2
    assert not planner.finished


@pytest.mark.parametrize("search", [{}, {"racing": "none"}, {"sampler": "grid", "configurations": 4}])
def test_methods_get_equal_budgets(search):
    counts = Counter((run.arm.method.name, run.stage) for run in simulate(study_of(search)).ran)
    assert len({counts[name, "search"] for name in ("joint", "ogm", "label_smoothing")}) == 1
    assert {counts[name, "final"] for name in ("joint", "ogm", "label_smoothing")} == {2}


# Rungs and selection


def slow(run):
    """Like `train`, but one method takes three times as long."""
    return {**train(run), "seconds": 3.0 if run.arm.method.name == "ogm" else 1.0}


@pytest.mark.parametrize("slots", [1, 7])
def test_a_time_for_searching_is_shared_equally_and_slow_methods_try_fewer(slots):
    life = simulate(study_of({"hours": 3 * 15 / 3600}), slow, slots=slots, clock=slots)
    searched = [run for run in life.ran if run.stage == "search"]
    tried = {race.arm.method.name: len(race.configurations) for race in life.planner.races}
    took = Counter()
    for run in searched:
        took[run.arm.method.name] += slow(run)["seconds"]
    assert tried == {"joint": 7, "ogm": 3, "label_smoothing": 7}
    assert all(seconds <= 15 for seconds in took.values())
    assert {r.axes["method"] for r in life.book.of(Selected)} == set(tried)
    said = " ".join(caption(history_of(life)))
    assert "up to 9 configurations" in said
    assert "as many as fit into 15 s of runs for each arm (tried: joint 7, ogm 3, label_smoothing 7)" in said


def test_an_arm_with_nothing_to_search_takes_no_share_of_the_time():
    fixed = {"name": "label_smoothing", "space": {"train.lr": 0.1, "eps": 0.1}}
    both = study_of({"hours": 2 * 15 / 3600}, methods=["joint", fixed])
    life = simulate(both, slow)
    assert {race.arm.method.name: len(race.configurations) for race in life.planner.races} == {
        "joint": 9,
        "label_smoothing": 1,
    }
    assert "as many as fit into 30 s of runs for each arm" in " ".join(caption(history_of(life)))


def test_a_time_too_short_for_anything_leaves_the_published_defaults():
    life = simulate(study_of({"hours": 1e-6}))
    assert {run.configuration for run in life.ran} == {0}
    assert len(life.book.of(Selected)) == 3


def test_seeds_are_rungs_and_the_better_half_goes_on():
    life = simulate(joint())
    seeds = life.seeds()
    assert Counter(map(tuple, seeds.values())) == {(0,): 4, (0, 1): 2, (0, 1, 2, 3): 3}
    first = {k: train(life.race.runs[k, "search", 0])["curve"][-1] for k in range(9)}
    assert {k for k in seeds if len(seeds[k]) > 1} == set(sorted(first, key=first.get)[4:])


def test_without_racing_every_configuration_has_every_seed():
    assert simulate(joint({"racing": "none"})).seeds() == {k: [0, 1, 2, 3] for k in range(9)}


def test_elimination_keeps_a_third_and_is_over_where_one_is_left():
    life = simulate(joint({"racing": "elimination"}))
    counts = sorted(len(seeds) for seeds in life.seeds().values())
    assert counts[:6] == [1] * 6
    assert all(n > 1 for n in counts[6:])
    most = [k for k, seeds in life.seeds().items() if len(seeds) == counts[-1]]
    assert life.selected in most
    assert f"over {counts[-1]} tuning seeds" in life.book.of(Selected)[0].rule
    assert counts[-1] < 4 or len(most) > 1


def dear(run):
    """Like `train`, but every second configuration takes five times as long."""
    return {**train(run), "seconds": 5.0 if run.configuration % 2 else 1.0}


def test_by_cost_survivors_take_half_of_the_seconds_and_the_caption_will_say_so():
    took = {}
    for racing in ("halving", "cost"):
        life = simulate(joint({"racing": racing, "sampler": "qmc"}), dear)
        second = [k for k, seeds in life.seeds().items() if len(seeds) > 1]
        took[racing] = sum(5.0 if k % 2 else 1.0 for k in second)
        assert ("seconds counting in the race" in life.book.of(Selected)[0].rule) is (racing == "cost")
    assert took["cost"] <= (5 * 1.0 + 4 * 5.0) / 2 < took["halving"]


def test_the_best_mean_of_those_with_all_seeds_is_selected_and_runs_on_fresh_seeds():
    life = simulate(joint())
    finalists = [k for k, seeds in life.seeds().items() if len(seeds) == 4]
    means = {k: sum(life.race.scores(k).values()) for k in finalists}
    best = max(means, key=means.get)
    (selected,) = life.book.of(Selected)
    assert life.race.scores(best) == {
        seed: train(life.race.runs[best, "search", seed])["curve"][-1] for seed in range(4)
    }
    assert selected.configuration == best
    assert selected.parameters == proposals([], life.book)[selected.arm][best]
    assert selected.rule == "best mean of accuracy on validation over 4 tuning seeds"
    assert life.seeds("final") == {best: [100, 101]}
    assert selected.runs == {run.seed: run.key for run in life.ran[-2:]}


def test_a_smaller_loss_is_better():
    def loss(run):
        found = train(replace(run, limits={epoch: -value for epoch, value in run.limits.items()}))
        scores = {"loss": -found["metrics"]["validation"]["accuracy"]}
        metrics = {"validation": scores, "test/clean": scores}
        return {**found, "metrics": metrics, "curve": [-value for value in found["curve"]]}

    search = {"early_stopping": "asha", "configurations": 14}
    larger, smaller = simulate(joint(search)), simulate(joint(search, select={"metric": "loss"}), loss)
    assert smaller.race.configurations == larger.race.configurations
    assert smaller.selected == larger.selected
    assert smaller.race.best()[1] == pytest.approx(-larger.race.best()[1])
    pruned = [sum(r.status == "pruned" for r in life.book.of(RunRecord)) for life in (larger, smaller)]
    assert pruned[0] == pruned[1] > 0


# Two metrics


def gap(payload):
    """A gap that grows with the learning rate, whatever the accuracy."""
    return 0.1 * (math.log10(payload["train"]["lr"]) + 4) + 0.01 * noise(payload["seed"], payload["method"])


def with_gap(run):
    """Like `train`, but a run on two modalities measures their gap as well."""
    found = train(run)
    if len(run.arm.reads) > 1:
        found["metrics"]["validation"]["gap"] = gap(run.payload)
    return found


def by_two(search=(), **changes):
    return study_of(search, select={"beside": "gap"}, **changes)


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii", "qmc"])
@pytest.mark.parametrize("racing", ["halving", "elimination", "none"])
def test_a_search_by_two_metrics_does_not_depend_on_timing_or_restarts(sampler, racing):
    study = by_two({"sampler": sampler, "racing": racing, "configurations": 14}, methods=STUDY["methods"][:1])
    whole = simulate(study, with_gap)
    assert simulate(study, with_gap, slots=5, clock=2).outcome == whole.outcome
    life = simulate(study, with_gap, die_after=4)
    while not life.planner.finished:
        life = simulate(study, with_gap, slots=3, clock=len(life.book.runs), book=life.book, die_after=4)
    assert (life.outcome, life.told) == (whole.outcome, whole.told)


def test_the_second_metric_leads_the_search_elsewhere_and_runs_stay_the_same():
    search = {"seeds": [0], "configurations": 20}
    one = simulate(joint(search), with_gap)
    two = simulate(by_two(search, methods=["joint"]), with_gap)
    assert one.race.arm.key != two.race.arm.key
    assert one.race.configurations[:8] == two.race.configurations[:8]  # before any result counts
    assert one.race.configurations[8:] != two.race.configurations[8:]
    assert len(one.keys & two.keys) >= 8
    assert {len(values) for _, values, _, _ in two.told[0] if values} == {2}


def test_what_is_selected_is_best_by_the_first_metric():
    life = simulate(by_two({"racing": "none"}, methods=["joint"]), with_gap)
    means = {k: sum(life.race.scores(k).values()) for k in range(9)}
    assert life.selected == max(means, key=means.get)
    (selected,) = life.book.of(Selected)
    assert selected.rule == "best mean of accuracy on validation over 4 tuning seeds"


@pytest.mark.parametrize("racing", ["halving", "cost", "elimination"])
def test_a_configuration_on_the_front_earns_seeds_though_others_are_more_accurate(racing):
    def worker(run):
        """The defaults are the least accurate of those that work; one is no more accurate and has the least gap."""
        k = run.configuration
        accuracy = {0: 0.5, 1: 0.5, 2: 0.1}.get(k, 0.8 + 0.01 * k) + 0.001 * noise(run.seed)
        found = result_of("done", accuracy, [accuracy])
        found["metrics"]["validation"]["gap"] = {1: 0.05, 2: 0.0}.get(k, 0.3)
        return found

    search = {"racing": racing, "sampler": "qmc"}
    alone = simulate(joint(search), worker).seeds()
    both = simulate(by_two(search, methods=["joint"]), worker)
    assert len(alone[1]) < 4
    assert len(both.seeds()[1]) == 4
    assert len(both.seeds()[2]) < 4  # behind the published defaults: on no front, whatever its gap
    assert both.selected == 8


def test_an_arm_without_the_second_metric_is_searched_as_if_there_were_none():
    methods = ["joint", {"name": "unimodal", "space": {"modality": "m0"}}]
    one, two = simulate(study_of(methods=methods), with_gap), simulate(by_two(methods=methods), with_gap)
    (first, second), (by_one, by_none) = (life.planner.races for life in (one, two))
    assert first.arm.key != by_one.arm.key
    assert second.arm.key == by_none.arm.key
    assert second.configurations == by_none.configurations
    said = " ".join(caption(history_of(two)))
    assert "Searched by accuracy and gap (accuracy alone, for want of a gap: unimodal);" in said
    assert "Searched by" not in " ".join(caption(history_of(one)))
    planned = list(
        preview.describe(
            two.planner.study, preview.plan(two.planner.study, [r.arm for r in two.planner.races], {}, {})
        )
    )
    assert planned[0].endswith("; searched by accuracy and gap")
    assert [
        line.endswith("; searched by accuracy alone") for line in planned if "configurations, up to" in line
    ] == [False, True]


def test_a_run_that_lacks_the_second_metric_is_no_result_and_on_no_front():
    def worker(run):
        found = with_gap(run)
        if run.configuration == 3:
            found["metrics"]["validation"]["gap"] = math.nan
        return found

    life = simulate(by_two(methods=["joint"]), worker)
    assert [state for state, *_ in life.told[0]][:5] == [*["COMPLETE"] * 3, "FAIL", "COMPLETE"]
    assert len(life.seeds()[3]) == 1


def test_a_configuration_that_fails_a_seed_is_never_selected():
    def worker(run):
        good = 0.01 < run.payload["train"]["lr"] < 0.08
        return error("failed", "OOM", run.key) if good and run.seed == 2 else train(run)

    study = joint({"sampler": "qmc", "configurations": 16, "racing": "none"})
    (best,), (selected,) = (simulate(study, w).book.of(Selected) for w in (train, worker))
    assert 0.01 < best.parameters["train.lr"] < 0.08
    assert not 0.01 < selected.parameters["train.lr"] < 0.08


def test_nothing_to_search_means_only_final_runs():
    fixed = {"train.lr": 0.01, "train.weight_decay": 0.0, "train.batch_size": 64}
    life = simulate(joint(space=fixed))
    assert [(run.stage, run.seed) for run in life.ran] == [("final", 100), ("final", 101)]
    (selected,) = life.book.of(Selected)
    assert selected.rule == "the only configuration"
    assert selected.parameters == fixed | {"train.epochs": 18, "train.optimizer": "sgd"}


# What Optuna is told


def test_optuna_is_told_done_pruned_and_failed_as_they_are():
    life = simulate(joint({"configurations": 30, "early_stopping": "asha"}), failing)
    assert life.race.told == 30 - 4
    seen = Counter()
    for k, (state, value, steps, _) in enumerate(life.told[0][: life.race.told]):
        record = life.race.record(life.race.runs[k, "search", 0])
        accuracy = record.validation.get("accuracy")
        if record.done and math.isfinite(accuracy):
            assert (state, value, steps) == ("COMPLETE", [accuracy], {})
        elif record.status == "pruned":
            assert (state, steps) == ("PRUNED", {record.epochs: record.curve[-1]})
        else:
            assert (state, value, steps) == ("FAIL", None, {})
        seen[record.status, accuracy is not None and math.isnan(accuracy)] += 1
    assert set(seen) == {
        *((status, False) for status in ("done", "pruned", "failed", "diverged")),
        ("done", True),
    }


def test_several_first_seeds_are_told_as_their_mean():
    life = simulate(joint({"racing": "none", "ahead": 1}))
    means = [sum(life.race.scores(k).values()) / 4 for k in range(8)]
    assert [value for _, (value,), _, _ in life.told[0][:8]] == pytest.approx(means)


# Failures


@pytest.mark.parametrize("racing", ["halving", "none"])
@pytest.mark.parametrize("slots", [1, 2, 7])
def test_the_same_error_three_times_stops_that_arm_only(slots, racing):
    def worker(run):
        return error("failed", "ValueError", "bad shape") if run.arm.method.name == "ogm" else train(run)

    life = simulate(study_of({"racing": racing}), worker, slots=slots, clock=slots)
    counts = Counter(run.arm.method.name for run in life.ran)
    assert SAME_ERROR_STOPS <= counts["ogm"] <= SAME_ERROR_STOPS + slots - 1
    assert counts["joint"] == counts["label_smoothing"] == (PER_ARM if racing == "halving" else 9 * 4 + 2)
    reason = "the same error 3 times: ValueError: bad shape"
    assert [race.stopped for race in life.planner.races] == ["", reason, ""]
    assert {r.axes["method"] for r in life.book.of(Selected)} == {"joint", "label_smoothing"}
    assert f" · 1 stopped, ogm: {reason}" in line(Progress(life.planner, io.StringIO()).state(0))


def test_an_arm_goes_on_if_one_of_its_first_runs_succeeds():
    def worker(run):
        return error("failed", "ValueError", "bad") if run.configuration != 1 else train(run)

    life = simulate(joint(), worker, slots=4)
    assert life.race.stopped == ""
    assert life.selected == 1


def test_an_arm_whose_runs_fail_in_many_ways_ends_without_a_selection():
    life = simulate(joint(), lambda run: error("failed", "OOM", run.key))
    assert len(life.ran) == 9
    assert life.race.stopped == "no configuration finished its tuning seeds"
    assert list(life.book.of(Selected)) == []


def test_divergence_says_something_of_the_configuration_and_stops_no_arm():
    def worker(run):
        return error("diverged", "diverged", "loss is nan") if run.configuration < 4 else train(run)

    life = simulate(joint(), worker)
    assert life.race.stopped == ""
    assert life.selected >= 4


# Sharing and extension


def test_what_another_study_ran_is_not_run_again():
    book = simulate(study_of()).book
    again = simulate(study_of(study="another"), book=book)
    assert again.ran == []
    assert {r.study for r in book.of(Selected)} == {"simulated", "another"}


def history_of(life):
    """What a life's ledger tells of its study, once that is announced."""
    study, arms = life.planner.study, [race.arm for race in life.planner.races]
    return History(announcement(study, arms, (), "planned"), life.book.records)


def counted(life):
    """What the searches of a study amount to in its caption and in MLflow, arm by arm: {(configuration, seed)}."""
    history = history_of(life)
    shown = {arm.key: set() for arm in history.plan.arms}
    for (arm, k), one in view.configurations(history).items():
        shown[arm] |= {(k, r.seed) for r in one.runs.values() if r.stage == "search"}
    assert {arm: len(runs) for arm, runs in history.searched.items()} == {
        arm: len(places) for arm, places in shown.items()
    }
    return shown


def test_runs_that_other_arms_and_studies_carried_out_count_in_every_search_that_used_them():
    wide = study_of(study="wide", methods=["joint"], space=SIX)
    alone = counted(simulate(wide))
    narrow = {"methods": ["joint"], "space": {**SIX, "train.batch_size": 64}}
    book = simulate(study_of({"seeds": [0, 1]}, study="tuned", **narrow)).book
    book = simulate(
        study_of({"seeds": [7]}, study="reported", **narrow, final={"seeds": [2, 3]}), book=book
    ).book
    after = simulate(wide, book=book)
    assert {r.seed for r in book.of(Shared)} > {0, 1}
    assert counted(after) == alone


@pytest.mark.parametrize("slots", [1, 7])
def test_two_arms_with_equal_runs_run_them_once_and_both_select(slots):
    life = simulate(study_of(methods=[{"name": "joint", "label": x} for x in ("one", "two")]), slots=slots)
    assert len(life.ran) == len(life.keys) == PER_ARM
    assert [race.stage for race in life.planner.races] == ["over", "over"]
    one, two = life.book.of(Selected)
    assert (one.axes["method"], two.axes["method"]) == ("one", "two")
    assert one.configuration == two.configuration


EXTENSIONS = {
    "more configurations": ({"search": {"configurations": 14}}, None),
    "more tuning seeds": ({"search": {"seeds": [0, 1, 2, 3, 4, 5, 6, 7]}}, None),
    "more report seeds": ({"final": {"seeds": [100, 101, 102]}}, 3),
    "a new method": ({"methods": [*STUDY["methods"], "uniform"]}, PER_ARM),
    "nothing": ({}, 0),
}


@pytest.mark.parametrize(("change", "expected"), EXTENSIONS.values(), ids=EXTENSIONS)
def test_an_extension_runs_only_the_difference_and_ends_as_if_asked_at_first(change, expected):
    wider = study_of(change.get("search", {}), **{k: v for k, v in change.items() if k != "search"})
    narrow, fresh = simulate(study_of()), simulate(wider)
    before = set(narrow.book.runs)
    extended = simulate(wider, book=narrow.book)
    assert not before & extended.keys
    assert extended.keys == fresh.keys - before
    assert expected in (None, len(extended.ran))
    assert extended.told == fresh.told
    assert extended.outcome["selected"] == fresh.outcome["selected"]


@pytest.mark.parametrize("search", [{"sampler": "grid"}, {"seed": 1}])
def test_another_sampler_or_search_seed_proposes_anew(search):
    book = simulate(joint()).book
    assert (
        simulate(joint(search), book=book).race.configurations == simulate(joint(search)).race.configurations
    )


def test_a_pruned_run_counts_only_where_todays_limits_would_end_it_too():
    stopping = joint({"early_stopping": "asha", "configurations": 16})
    first = simulate(stopping)
    pruned = {key for key, record in first.book.runs.items() if record.status == "pruned"}
    assert pruned
    assert simulate(stopping, book=first.book).ran == []
    book = simulate(joint({"configurations": 16}), book=first.book).book
    assert {book.runs[key].status for key in pruned} == {"done"}
    # and back: whole curves are seen only as far as the limits let them be seen
    again = simulate(stopping, book=book)
    assert again.ran == []
    assert again.told == first.told


# Code that changed


def codes(life):
    """The code that each run of the arms was done by, search runs and report runs."""
    runs = {run.key for race in life.planner.races for run in race.runs.values()}
    return {life.book.runs[key].code for key in runs}


def test_under_other_code_every_run_is_done_again():
    before = simulate(study_of(), code="old")
    after = simulate(study_of(), code="new", book=before.book)
    assert len(after.ran) == len(before.ran)
    assert not after.keys & before.keys
    assert codes(after) == {"new"}


@pytest.mark.parametrize("reuse", ["code", "any"])
def test_runs_of_other_code_stand_in_where_a_study_says_so(reuse):
    before = simulate(study_of(reuse=reuse), code="old")
    after = simulate(study_of(reuse="any"), code="new", book=before.book)
    assert after.ran == []
    assert codes(after) == {"old"}
    assert after.told == before.told
    for one, other in zip(before.planner.races, after.planner.races, strict=True):
        assert one.configurations == other.configurations
        assert (one.arm.key == other.arm.key) == (reuse == "any")
    if reuse == "any":
        assert after.outcome == before.outcome


def test_of_other_code_only_what_ran_to_its_end_stands_in():
    study = joint({"early_stopping": "asha", "configurations": 14}, reuse="any")
    book = simulate(study, rough, code="old").book
    done = {record.work for record in book.runs.values() if record.done}
    after = simulate(study, rough, code="new", book=book)
    assert {"pruned", "diverged"} <= {book.runs[run.key].status for run in after.ran}
    assert done.isdisjoint(run.work for run in after.ran)


def test_a_study_goes_on_under_other_code_where_it_stopped():
    whole = simulate(study_of(reuse="any"), code="old")
    half = simulate(study_of(reuse="any"), code="old", die_after=PER_ARM)
    rest = simulate(study_of(reuse="any"), code="new", book=half.book)
    assert len(half.ran) + len(rest.ran) == len(whole.ran)
    assert proposals([], rest.book) == proposals([], whole.book)
    assert [race.configurations for race in rest.planner.races] == [
        race.configurations for race in whole.planner.races
    ]
    assert {arm: r.configuration for arm, r in rest.selections.items()} == {
        arm: r.configuration for arm, r in whole.selections.items()
    }
    assert codes(rest) == {"old", "new"}


@pytest.mark.parametrize("code", ["old", "new"])
def test_a_studys_own_runs_go_before_those_of_other_code(code):
    book = Book()
    for own in ("old", "new"):
        simulate(study_of(), code=own, book=book)
    life = simulate(study_of(reuse="any"), code=code, book=book)
    assert life.ran == []
    assert codes(life) == {code}


def test_the_caption_says_which_code_each_cells_runs_came_from():
    methods = STUDY["methods"]
    some = simulate(study_of(reuse="any", methods=methods[:1]), code="old")
    every = simulate(study_of(reuse="any", methods=methods), code="new", book=some.book)
    assert caption(history_of(some))[-1] == "Code: g."
    assert caption(history_of(every))[-1] == "Code: g old (joint); g (ogm, label_smoothing)."
    assert caption(history_of(simulate(study_of())))[-1] == "Code: g."


def test_a_plan_counts_runs_that_stand_in_as_done():
    book = simulate(study_of(), code="old").book
    for reuse, done in (("any", 3 * PER_ARM), ("code", 0)):
        study = study_of(reuse=reuse)
        arms = arms_of(study, book, "new")
        proposed = dict(zip([arm.key for arm in arms], proposals([], book).values(), strict=True))
        assert sum(own.done for own in preview.plan(study, arms, book.runs, proposed)) == done


# What early stopping and learning are worth


@pytest.mark.parametrize(("rule", "share"), [("asha", 0.75), ("once", 0.8)])
def test_early_stopping_saves_epochs_and_finds_nearly_as_good_a_configuration(rule, share):
    spent, lost = Counter(), []
    for seed in range(5):
        value = {}
        for stopping in ("none", rule):
            search = {"configurations": 24, "sampler": "qmc", "seeds": [0], "seed": seed}
            life = simulate(joint({**search, "early_stopping": stopping}))
            spent[stopping] += sum(r.epochs for r in life.book.of(RunRecord) if r.stage == "search")
            value[stopping] = quality(life.race.runs[life.selected, "search", 0].payload)
        lost.append(value["none"] - value[rule])
    assert spent[rule] < share * spent["none"]
    assert sum(lost) / len(lost) < 0.01


WIDE = {
    "train.lr": {"float": [0.0001, 1.0], "log": True},
    "train.weight_decay": {"float": [1e-6, 0.01], "log": True},
    "train.momentum": {"float": [0.0, 0.999]},
    "train.batch_size": {"choice": [32, 64, 128]},
}


def bowl(run):
    """A quadratic in the logarithms of learning rate and weight decay, and in the momentum."""
    settings = run.payload["train"]
    off = (math.log10(settings["lr"]) + 2.3) ** 2 / 4 + (math.log10(settings["weight_decay"]) + 4) ** 2 / 20
    value = 1 - off - (settings["momentum"] - 0.3) ** 2 / 4 - 0.05 * (settings["batch_size"] != 64)
    return result_of("done", value, [value])


def test_tpe_learns():
    def best(sampler, seed):
        search = {"sampler": sampler, "configurations": 40, "seeds": [0], "seed": seed}
        race = simulate(joint(search, space=WIDE), bowl).race
        return max(race.scores(k)[0] for k in range(40))

    tpe, luck = (sorted(best(sampler, seed) for seed in range(10)) for sampler in ("tpe", "random"))
    assert sum(tpe[4:6]) / 2 > sum(luck[4:6]) / 2 + 0.01


# What is announced


@pytest.mark.parametrize("search", KINDS.values(), ids=KINDS)
def test_the_number_of_planned_runs_is_an_upper_bound_that_becomes_exact(search):
    study = study_of(search)
    planner, n = plan(study, Book()), len(study.search.seeds)
    announced = [RULES[study.search.racing].runs_planned(race.size, n, 2) for race in planner.races]
    assert planner.planned() == sum(announced)
    life = simulate(study, failing)
    assert len(life.ran) == life.planner.planned() <= sum(announced)


def test_the_progress_line_says_runs_best_and_time_left():
    study = joint(dataset=["synthetic", {"name": "synthetic", "n_classes": 3}])
    planner = plan(study, Book())
    progress = Progress(planner, io.StringIO())
    assert line(progress.state(0)) == f"runs 0/{2 * PER_ARM}"
    for _ in range(3):
        run = planner.take()
        settle(planner, run, train(run))
        progress.done += 1
    best = ["{1:.3f} #{0}".format(*race.best()) for race in planner.races]  # of one seed: no spread
    assert line(progress.state(60)) == (
        f"runs 3/{2 * PER_ARM} · ETA 13:40"
        f" · best joint synthetic {best[0]}, joint synthetic (n_classes 3) {best[1]}"
    )
    assert "ETA 2:46:41" in line(progress.state(731.8))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_fits_a_terminal_and_is_not_repeated_in_a_file(monkeypatch):
    for name, value in {"COLUMNS": "24", "LINES": "7", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    planner, screen, file = simulate(study_of()).planner, Terminal(), io.StringIO()
    for out in (screen, file):
        progress = Progress(planner, out)
        for _ in range(3):
            progress.show()
        progress.show(last=True)
    shown = re.sub(r"\x1b\[[\d;?]*\w", "", screen.getvalue())
    assert max(len(line) for part in shown.split("\r") for line in part.splitlines()) == 24
    assert shown.count("2 more") == shown.count(f"{3 * PER_ARM}/{3 * PER_ARM}") == 3  # begun, shown and last
    assert shown.endswith("\n")
    assert file.getvalue().count("\n") == 2
