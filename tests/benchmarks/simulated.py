"""The planner on a simulated clock: 100,000 runs of 40 arms on 1,000 slots, with run lengths drawn at random."""

from __future__ import annotations

import heapq
import math
import random
import resource
import sys
import time
from dataclasses import dataclass, field

from sweeper.ledger.records import RunRecord
from sweeper.planning.planner import Planner
from sweeper.study.runs import Run
from sweeper.study.schema import Study, parse
from sweeper.study.unfold import unfold

SLOTS, SEED, EPOCHS = 1000, 7, 20
SEARCH = {"seeds": list(range(8)), "sampler": "random", "early_stopping": "asha"}
STUDY = {
    "study": "simulated",
    "dataset": [{"name": "synthetic", "n_classes": n, "label": f"{n} classes"} for n in range(2, 10)],
    "methods": ["joint", "lfm", "ogm", "uniform", "label_smoothing"],
    "final": {"seeds": list(range(100, 120))},
    "train": {"epochs": EPOCHS},
}
WAITING = {
    "propose": "while arms are proposed to, each waits for the oldest of `ahead` runs",
    "race": "while the last arms race, each rung waits for its last run",
    "final": "while the last arms run their report seeds",
    "over": "",
}


@dataclass
class Told:
    """What a simulation measured: seconds of planning by tenths of the runs, and slots busy over simulated time."""

    runs: int = 0
    planning: list[float] = field(default_factory=lambda: [0.0])
    busy: float = 0.0
    idle: dict[str, float] = field(default_factory=dict)
    hours: float = 0.0


def worked(run: Run, luck: random.Random) -> RunRecord:
    """Return the record of a run that was carried out up to where its limits end it."""
    best = 0.5 + int(run.key[:4], 16) / 2**18
    curve = [best * (1 - math.exp(-5 * e / EPOCHS)) + 0.01 * luck.random() for e in range(1, EPOCHS + 1)]
    end = next((e for e in range(1, EPOCHS) if curve[e - 1] < run.limits.get(str(e), -1.0)), None)
    scores = {"accuracy": curve[:end][-1]}
    metrics = {"validation": scores} | ({"test/clean": scores} if run.stage == "final" else {})
    return RunRecord(
        key=run.key,
        status="done" if end is None else "pruned",
        arm=run.arm.key,
        axes=run.arm.axes,
        configuration=run.configuration,
        parameters=run.parameters,
        stage=run.stage,
        seed=run.seed,
        metrics=metrics,
        curve=curve[:end],
        epochs=end or EPOCHS,
    )


def simulate(study: Study, each: int) -> Told:
    """Carry a study out on the simulated clock, measuring planning by `each` so many runs."""
    luck, told, now = random.Random(SEED), Told(), 0.0
    planner = Planner(study, unfold(study), {}, {}, lambda record: None)
    under_way: list[tuple[float, int, Run]] = []

    def timed(step, *arguments):
        began = time.process_time()
        found = step(*arguments)
        told.planning[-1] += time.process_time() - began
        return found

    while True:
        while len(under_way) < SLOTS and (run := timed(planner.take)) is not None:
            told.runs += 1
            heapq.heappush(under_way, (now + luck.lognormvariate(0, 0.5), told.runs, run))
            if told.runs % each == 0:
                told.planning.append(0.0)
        if not under_way:
            return told
        then, _, run = heapq.heappop(under_way)
        told.busy += (len(under_way) + 1) * (then - now)
        stages = {race.stage for race in planner.races}
        why = next(why for stage, why in WAITING.items() if stage in stages)
        told.idle[why] = told.idle.get(why, 0.0) + (SLOTS - len(under_way) - 1) * (then - now)
        told.hours, now = then, then
        timed(planner.settle, run.key, worked(run, luck))


def main(configurations: int = 1940) -> None:
    """Print decisions a second, memory and slots busy."""
    for ahead in (32, 4):
        study = parse({**STUDY, "search": {**SEARCH, "configurations": configurations, "ahead": ahead}})
        each = 10_000
        told = simulate(study, each)
        rates = [f"{each / seconds:,.0f}" for seconds in told.planning[:-1]]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"ahead {ahead}: {told.runs:,} runs in {sum(told.planning):.1f} s of planning, {peak:.0f} MB")
        print(f"  decisions a second, by {each:,} runs: {', '.join(rates)}")
        shares = {why: f"{seconds / SLOTS / told.hours:.0%} {why}" for why, seconds in told.idle.items()}
        print(
            f"  slots busy: {told.busy / SLOTS / told.hours:.0%}; idle: {', '.join(shares.values())}",
            flush=True,
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
