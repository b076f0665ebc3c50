"""One Ray Tune `Tuner` for a whole study: warm workers, one run a trial. The one user of ray.tune."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

# what is set in the environment already holds
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # else Ctrl-C ends like a finished study
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "600")
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

from ray import tune
from ray.tune.execution import class_cache
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from sweeper.models.errors import one_line
from sweeper.running.cluster import slots
from sweeper.running.orders import execute_here
from sweeper.study.runs import Run
from sweeper.study.schema import Resources

# Tune would hand workers the driver's AWS keys, by a way that Ray writes into its logs; nodes have their own
class_cache.ENV_VARS_TO_PROPAGATE.difference_update(
    {name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")}
)

ATTEMPTS = 3
UNLIMITED = 10**9


class Work(Protocol):
    """The study's side: what is to be done, and what became of it."""

    interrupted: bool

    @property
    def finished(self) -> bool:
        """Whether nothing is left to take, now or later."""

    def take(self) -> Run | None:
        """Return the next run, None if there is none now."""

    def order(self, run: Run) -> dict[str, Any]:
        """Return what a worker needs for a run, picklable."""

    def settle(self, run: Run, result: Mapping[str, Any]) -> None:
        """Take a run's result."""

    def idle(self) -> None:
        """Be called now and then."""


def carry_out(first: Run, work: Work, resources: Resources) -> None:
    """Carry out `first` and what the work holds until it is finished.

    A worker that dies is replaced and its run tried again, ATTEMPTS times in all.
    """
    folder = tempfile.mkdtemp(prefix="sweeper-tune-")
    searcher = _PlannerSearch(first, work)
    # on several workers Ray Train reserves what they use; the trial itself only waits, but must reserve something
    share = {"memory": 1} if resources.workers > 1 else {"cpu": resources.cpus, "gpu": resources.gpus}
    tuner = tune.Tuner(
        tune.with_resources(_Worker, share),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=_Coroner(searcher),
            num_samples=UNLIMITED,
            max_concurrent_trials=slots(resources),
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


def execute(order: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out an order in this process, or on its workers, and return the result."""
    if order["workers"] > 1:
        from sweeper.running.ranks import execute_on_workers

        return execute_on_workers(order)
    return execute_here(order)


class _Worker(tune.Trainable):
    """Carries out one run after another, all in one thread: in threads of their own each would keep memory."""

    def setup(self, config: dict[str, Any]) -> None:
        """Take the first order."""
        self.order = config

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another order."""
        self.order = new_config
        return True

    def step(self) -> dict[str, Any]:
        """Carry out the order."""
        return {"result": json.dumps(execute(self.order)), "done": True}


class _PlannerSearch(Searcher):
    """Hands Tune the planner's next run and the planner each result."""

    def __init__(self, first: Run, work: Work) -> None:
        super().__init__()
        self.work = work
        self.running: dict[str, tuple[Run, dict[str, Any], float]] = {}
        self.attempts: dict[str, int] = {}
        self.reasons: dict[str, str] = {}
        self.again = [first]
        self.error: Exception | None = None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next run's order, None to be asked again, FINISHED when the study is over."""
        if self.error:
            return Searcher.FINISHED
        try:
            run = self.again.pop() if self.again else self.work.take()
            if run is None:
                return Searcher.FINISHED if self.work.finished else None
            order = self.work.order(run)
            self.running[trial_id] = run, order, time.time()
            return order
        except Exception as error:  # Tune would log and go on; the driver must end with it
            self.error = error
            return Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing happens between a run's start and its end."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Settle the run; queue it again if its worker died, unless that was its last attempt."""
        run, order, began = self.running.pop(trial_id)
        if not error:
            self._settle(run, json.loads((result or {})["result"]))
            return
        if order["workers"] > 1:
            from sweeper.running.ranks import release

            release(order)
        self.attempts[run.key] = self.attempts.get(run.key, 0) + 1
        if self.attempts[run.key] < ATTEMPTS:
            self.again.append(run)
            return
        message = f"{ATTEMPTS} times: {self.reasons.pop(trial_id)}"
        outcome = {"status": "preempted", "error": {"class": "WorkerDied", "message": message}}
        self._settle(run, outcome | {"started": began, "seconds": time.time() - began})

    def _settle(self, run: Run, result: dict[str, Any]) -> None:
        try:
            self.work.settle(run, result)
        except Exception as failure:  # as in suggest
            self.error = failure

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher; the state that counts is the ledger

    def save(self, checkpoint_path: str) -> None:
        """The ledger is the state; Tune's own snapshot holds nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class _Watch(tune.Stopper):
    """Lets the session show its progress while runs are under way, and ends them when the driver has failed."""

    def __init__(self, searcher: _PlannerSearch) -> None:
        self.searcher = searcher

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No run is stopped by its result."""
        return False

    def stop_all(self) -> bool:
        """Tune's loop went round once."""
        self.searcher.work.idle()
        if self.searcher.work.interrupted:  # and something between swallowed it
            raise KeyboardInterrupt
        return self.searcher.error is not None


class _Coroner(FIFOScheduler):
    """Tells the searcher why a trial died. (A Tune callback could, but with one Ray imports MLflow at the start.)"""

    def __init__(self, searcher: _PlannerSearch) -> None:
        super().__init__()
        self.searcher = searcher

    def on_trial_error(self, tune_controller: object, trial: Trial) -> None:
        """Note the last line of what Tune wrote down; the searcher hears of the death next."""
        last = Path(trial.error_file).read_text().strip().splitlines()[-1]
        self.searcher.reasons[trial.trial_id] = one_line(last)[:300]
