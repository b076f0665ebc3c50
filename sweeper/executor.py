"""The executor: one Ray Tune `Tuner` for the whole study, warm actors, one run a trial. The one user of ray.tune."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "600")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")

import ray
from ray import tune
from ray.tune.search import Searcher

from sweeper import bridge
from sweeper.arms import Run
from sweeper.study import Resources

ATTEMPTS = 3
UNLIMITED = 10**9


def start(home: Path) -> None:
    """Connect to the running Ray cluster, or start one on this machine whose workers can import this package."""
    if ray.is_initialized():
        return
    logging.getLogger("ray").setLevel(logging.ERROR)
    path = os.pathsep.join(filter(None, [str(home), os.environ.get("PYTHONPATH", "")]))
    common = {
        "runtime_env": {"env_vars": {"PYTHONPATH": path}},
        "log_to_driver": False,
        "logging_level": logging.ERROR,
    }
    address = os.environ.get("RAY_ADDRESS")
    if address or _cluster_here():
        ray.init(address=address or "auto", **common)
    else:
        ray.init(address="local", include_dashboard=False, **common)


def stop() -> None:
    """Leave the cluster; one started here ends."""
    ray.shutdown()


def slots(resources: Resources) -> int:
    """Return how many runs fit on the cluster at once; raise UserError if none does."""
    have = ray.cluster_resources()
    fits = math.floor(have.get("CPU", 0) / (resources.cpus * resources.workers) + 1e-9)
    if resources.gpus:
        fits = min(fits, math.floor(have.get("GPU", 0) / (resources.gpus * resources.workers) + 1e-9))
    if fits < 1:
        raise bridge.UserError(
            f"a run needs {resources.workers} × ({resources.cpus:g} CPU, {resources.gpus:g} GPU), but the cluster has"
            f" {have.get('CPU', 0):g} CPU and {have.get('GPU', 0):g} GPU; lower resources in the study"
        )
    return fits


def carry_out(
    first: Run,
    take: Callable[[], Run | None],
    finished: Callable[[], bool],
    order: Callable[[Run], dict[str, Any]],
    settle: Callable[[Run, dict[str, Any]], None],
    idle: Callable[[], None],
    resources: Resources,
) -> None:
    """Run `first` and what `take` gives until `finished`; `order` makes a run picklable, `settle` takes its result.

    A worker that dies is replaced and its run tried again, ATTEMPTS times in all.
    """
    searcher = _PlannerSearch(first, take, finished, order, settle, idle)
    several = resources.workers > 1
    share = {"cpu": 0.05} if several else {"cpu": resources.cpus, "gpu": resources.gpus}
    folder = tempfile.mkdtemp(prefix="sweeper-tune-")
    tuner = tune.Tuner(
        tune.with_resources(_trial, share),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=UNLIMITED,
            max_concurrent_trials=slots(resources),
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="study", storage_path=folder, verbose=0, failure_config=tune.FailureConfig(max_failures=0)
        ),
    )
    try:
        tuner.fit()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if searcher.error:
        raise searcher.error


def _trial(order: dict[str, Any]) -> None:
    """Carry out one run inside a warm actor."""
    if order["workers"] > 1:
        from sweeper.distributed import execute_on_workers

        result = execute_on_workers(order)
    else:
        device = "cuda" if order["gpus"] else "cpu"
        result = bridge.execute(**arguments(order), device=device)
    tune.report({"result": json.dumps(result)})


def arguments(order: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an order says to bridge.execute."""
    names = ("payload", "folder", "data_root", "cache", "limits", "plugins", "checkpoints")
    return {name: order[name] for name in names}


class _PlannerSearch(Searcher):
    """Hands Tune the planner's next run and the planner each result."""

    def __init__(
        self,
        first: Run,
        take: Callable[[], Run | None],
        finished: Callable[[], bool],
        order: Callable[[Run], dict[str, Any]],
        settle: Callable[[Run, dict[str, Any]], None],
        idle: Callable[[], None],
    ) -> None:
        super().__init__()
        self.take, self.finished, self.order, self.settle, self.idle = take, finished, order, settle, idle
        self.running: dict[str, Run] = {}
        self.started: dict[str, float] = {}
        self.attempts: dict[str, int] = {}
        self.again = [first]
        self.error: Exception | None = None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next run's order, None to be asked again, FINISHED when the study is over."""
        if self.error:
            return Searcher.FINISHED
        try:
            self.idle()
            run = self.again.pop() if self.again else self.take()
            if run is None:
                return Searcher.FINISHED if self.finished() else None
            self.running[trial_id], self.started[trial_id] = run, time.time()
            return self.order(run)
        except Exception as error:  # Tune would log and go on; the driver must end with it
            self.error = error
            return Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing happens between a run's start and its end."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Settle the run, or queue it again if its worker died."""
        run = self.running.pop(trial_id, None)
        if run is None:
            return
        began = self.started.pop(trial_id)
        text = (result or {}).get("result")
        if text is None:
            self.attempts[run.key] = self.attempts.get(run.key, 0) + 1
            if self.attempts[run.key] < ATTEMPTS:
                self.again.append(run)
                return
            message = f"the worker died {ATTEMPTS} times"
            outcome = {"status": "preempted", "error": {"class": "WorkerDied", "message": message}}
            outcome |= {"seconds": time.time() - began, "started": began}
        else:
            outcome = json.loads(text)
        try:
            self.settle(run, outcome)
        except Exception as failure:  # as in suggest
            self.error = failure

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher; the state that counts is the ledger

    def save(self, checkpoint_path: str) -> None:
        """The ledger is the state; Tune's own snapshot holds nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


def _cluster_here() -> bool:
    """Say whether a cluster started by `ray start` runs on this machine."""
    marker = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
    return marker.exists()
