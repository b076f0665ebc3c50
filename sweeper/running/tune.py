"""A Ray Tune `Tuner` for a study, one run a trial in warm workers; large studies take several, one after another.

The one user of ray.tune.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.execution import class_cache
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from sweeper.ledger.provenance import package
from sweeper.models.errors import one_line
from sweeper.running import leaving, room
from sweeper.running.dispatch import Dispatch, Work
from sweeper.running.orders import execute_here
from sweeper.study.runs import Run
from sweeper.study.schema import Resources

# Tune would hand workers the driver's AWS keys, by a way that Ray writes into its logs; nodes have their own
class_cache.ENV_VARS_TO_PROPAGATE.difference_update(
    {name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")}
)

UNLIMITED = 10**9
SHARD = 500  # runs of one Tuner, which keeps 60 KB of each
WAVES = 20  # but at least so many for each that is under way, since all wait for the last


def carry_out(first: Run, work: Work) -> None:
    """Carry out `first` and what the work holds until it is finished or interrupted; raise what the driver met."""
    dispatch = Dispatch(first, work, room.Room())
    try:
        while not dispatch.finished:
            _shard(dispatch)
            gc.collect()  # a Tuner's trials hold one another, and Python would leave them for thousands of runs
    finally:
        dispatch.end()


def _shard(dispatch: Dispatch) -> None:
    """Carry out as many runs as one Tuner may; raise what the driver met."""
    folder = tempfile.mkdtemp(prefix="sweeper-tune-")
    searcher = _Search(dispatch)
    tuner = tune.Tuner(
        tune.with_resources(_Worker, _reserved),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=_Coroner(searcher),
            num_samples=UNLIMITED,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="study",
            storage_path=folder,
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            stop=_Watch(searcher),
        ),
    )
    try:
        with redirect_stdout(StringIO()):  # where Ray tells at length of a worker that died
            tuner.fit()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if searcher.error:
        raise searcher.error


def _reserved(order: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """Return what a run's trial reserves."""
    own = room.bundle(Resources(cpus=order["cpus"], gpus=order["gpus"]))
    # on several workers Ray Train reserves what they use; the trial itself only waits, but must reserve something
    return tune.PlacementGroupFactory([{"memory": 1} if order["workers"] > 1 else own])


class _Worker(tune.Trainable):
    """Carries out one run after another, all in one thread: in threads of their own each would keep memory."""

    def setup(self, config: dict[str, Any]) -> None:
        """Take the first order; a node that joined later may have another package."""
        if config["package"] != package():
            raise RuntimeError(f"{os.uname().nodename} has sweeper {package()}, not {config['package']}")
        self.order = config

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another order."""
        self.order = new_config
        return True

    def step(self) -> dict[str, Any]:
        """Carry out the order, in this process or on its workers."""
        order = self.order
        if order["workers"] > 1:
            from sweeper.running.ranks import execute_on_workers

            result = execute_on_workers(order)
        else:
            with leaving.Pulse(order) as pulse:
                result = execute_here(order, pulse=pulse)
        return {"result": json.dumps(result), "done": True}


class _Search(Searcher):
    """Hands Tune the next run's order and the dispatch each result."""

    def __init__(self, dispatch: Dispatch) -> None:
        super().__init__()
        self.dispatch = dispatch
        self.reasons: dict[str, str] = {}
        self.error: Exception | None = None
        self.handed = 0

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next run's order, None to be asked again, FINISHED when the study or this share of it is over."""
        full = self.handed >= max(SHARD, WAVES * len(self.dispatch.running))
        if self.error or full or self.dispatch.finished:
            return Searcher.FINISHED
        try:
            order = self.dispatch.next(trial_id)
        except Exception as error:  # Tune would log and go on; the driver must end with it
            self.error = error
            return Searcher.FINISHED
        self.handed += order is not None
        return Searcher.FINISHED if order is None and self.dispatch.finished else order

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing happens between a run's start and its end."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass on the run's result, or why it has none."""
        try:
            if error:
                self.dispatch.died(trial_id, self.reasons.pop(trial_id, "no reason was given"))
            else:
                self.dispatch.ended(trial_id, json.loads((result or {})["result"]))
        except Exception as failure:  # as in suggest
            self.error = failure

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher; the state that counts is the ledger

    def save(self, checkpoint_path: str) -> None:
        """The ledger is the state; Tune's own snapshot holds nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class _Watch(tune.Stopper):
    """Lets the dispatch look around while runs are under way, and ends them when the driver has failed."""

    def __init__(self, searcher: _Search) -> None:
        self.searcher = searcher

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No run is stopped by its result."""
        return False

    def stop_all(self) -> bool:
        """Tune's loop went round once."""
        self.searcher.dispatch.look_around()
        return self.searcher.error is not None


class _Coroner(FIFOScheduler):
    """Tells the searcher why a trial died. (A Tune callback could, but with one Ray imports MLflow at the start.)"""

    def __init__(self, searcher: _Search) -> None:
        super().__init__()
        self.searcher = searcher

    def on_trial_error(self, tune_controller: object, trial: Trial) -> None:
        """Note the last line of what Tune wrote down; the searcher hears of the death next."""
        last = Path(trial.error_file).read_text().strip().splitlines()[-1]
        self.searcher.reasons[trial.trial_id] = one_line(last)[:300]
