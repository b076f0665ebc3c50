"""Against peers, side by side, on the same training function: runs a minute of each, and ours as a ratio.

Every one carries out configurations of joint training on digits with the same seeds, start-up included; what differs
is who hands them out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from sweeper import ROOT

EPOCHS, CONFIGURATIONS, SEEDS, SLOTS = 60, 60, 2, 2
STOCK, NESTED = 20, 4  # runs of the slow ones, where start-up weighs little

ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
}


def payload(lr: float, seed: int) -> dict:
    """Return the run that everybody carries out."""
    return {
        "dataset": {"name": "digits"},
        "encoders": {},
        "fusion": {"name": "concat"},
        "method": {"name": "joint"},
        "train": {"epochs": EPOCHS, "lr": lr},
        "metric": "accuracy",
        "conditions": [],
        "stage": "search",
        "seed": seed,
    }


def training(lr: float, seed: int) -> float:
    """Carry out one run and return its validation accuracy."""
    from sweeper.models.training.run import Order, execute

    with tempfile.TemporaryDirectory() as folder:
        return execute(Order(payload(lr, seed), Path(folder)))["metrics"]["validation"]["accuracy"]


def sequential() -> int:
    """A plain loop."""
    import random

    for _ in range(CONFIGURATIONS):
        lr = 10 ** random.uniform(-3, -0.5)
        for seed in range(SEEDS):
            training(lr, seed)
    return CONFIGURATIONS * SEEDS


def optuna_joblib() -> int:
    """Optuna's ask and tell with joblib's processes, a configuration's seeds as one batch."""
    import optuna
    from joblib import Parallel, delayed

    study = optuna.create_study(direction="maximize")
    with Parallel(n_jobs=SLOTS) as parallel:
        for _ in range(CONFIGURATIONS):
            trial = study.ask()
            lr = trial.suggest_float("lr", 1e-3, 0.3, log=True)
            values = parallel(delayed(training)(lr, seed) for seed in range(SEEDS))
            study.tell(trial, sum(values) / len(values))
    return CONFIGURATIONS * SEEDS


def stock_tune() -> int:
    """Ray Tune as documented: OptunaSearch in a Repeater, a function trainable."""
    return _tune(_tune_trial, STOCK)


def nested_train() -> int:
    """Ray Tune as documented for trainers: a TorchTrainer of one worker inside each trial."""
    return _tune(_nested_trial, NESTED)


def _tune(trainable: Callable[[dict], None], n: int) -> int:
    import ray
    from ray import tune
    from ray.tune.search import Repeater
    from ray.tune.search.optuna import OptunaSearch

    ray.init(
        address="local",
        log_to_driver=False,
        include_dashboard=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    with tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            tune.with_resources(trainable, {"cpu": 0.05 if trainable is _nested_trial else 1}),
            param_space={"lr": tune.loguniform(1e-3, 0.3)},
            tune_config=tune.TuneConfig(
                metric="accuracy",
                mode="max",
                search_alg=Repeater(OptunaSearch(), repeat=SEEDS),
                num_samples=n,
                max_concurrent_trials=SLOTS,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
    ray.shutdown()
    return n


def _tune_trial(config: dict) -> None:
    from ray import tune

    tune.report({"accuracy": training(config["lr"], config["__trial_index__"])})


def _nested_trial(config: dict) -> None:
    from ray import train, tune
    from ray.train.torch import TorchTrainer

    def loop(inner: dict) -> None:
        train.report({"accuracy": training(inner["lr"], inner["__trial_index__"])})

    with tempfile.TemporaryDirectory() as folder:
        trainer = TorchTrainer(
            loop,
            train_loop_config=config,
            scaling_config=train.ScalingConfig(num_workers=1),
            run_config=train.RunConfig(storage_path=folder),
        )
        tune.report({"accuracy": trainer.fit().metrics["accuracy"]})


def ours() -> int:
    """This project: ledger, MLflow, report and all."""
    raw = {
        "study": "peers",
        "dataset": "digits",
        "methods": [{"name": "joint", "space": {"train.weight_decay": 1e-4, "train.batch_size": 64}}],
        "search": {"configurations": CONFIGURATIONS, "seeds": list(range(SEEDS)), "racing": "none"},
        "final": {"seeds": [100]},
        "train": {"epochs": EPOCHS, "optimizer": "sgd"},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_text(yaml.safe_dump(raw))
        command = [sys.executable, "-m", "sweeper.cli", "run", str(path), "--storage", folder + "/store"]
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    return CONFIGURATIONS * SEEDS + 1


CONTESTANTS = {
    "a plain sequential loop": sequential,
    "Optuna + joblib": optuna_joblib,
    "stock Ray Tune (OptunaSearch + Repeater)": stock_tune,
    "stock Ray Tune with a nested TorchTrainer": nested_train,
    "sweeper": ours,
}


def main() -> None:
    """Time every contestant in a process of its own, start-up included, and print runs a minute."""
    rates = {}
    for name, contestant in CONTESTANTS.items():
        code = f"from tests.benchmarks import peers; print('runs', peers.{contestant.__name__}())"
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        )
        if done.returncode:
            print(f"{name}: failed: {done.stderr.strip().splitlines()[-1]}")
            continue
        n = int(done.stdout.split("runs ")[-1])
        rates[name] = 60 * n / (time.perf_counter() - began)
    for name, rate in rates.items():
        print(f"{name}: {rate:.0f} runs a minute; sweeper is {rates['sweeper'] / rate:.2f} ×")
