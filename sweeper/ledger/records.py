"""What a study writes down: its announcement, proposals, orders of runs and their records, and where they came from."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sweeper import ROOT
from sweeper.ledger.file import Ledger
from sweeper.ledger.storage import Storage
from sweeper.study.arms import Arm, Run
from sweeper.study.schema import Study


def announcement(study: Study, unfolded: list[Arm], origin: Mapping[str, str]) -> dict[str, Any]:
    """Return the ledger's record of what a study plans: its arms, seeds, rule, layout."""
    return {
        "kind": "study",
        "study": study.study,
        "arms": [
            {"key": arm.key, "axes": arm.axes, "code": arm.code, "size": arm.size(study.search)}
            for arm in unfolded
        ],
        "search": study.search.model_dump(),
        "final": study.final.model_dump(),
        "select": study.select.model_dump(),
        "conditions": study.conditions,
        "layout": study.report.model_dump(),
        "git": origin["git"],
    }


def proposals(ledger: Ledger) -> dict[str, dict[int, dict[str, Any]]]:
    """Return {arm: {configuration: parameters}} as proposed so far."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for record in ledger.of("proposed"):
        found.setdefault(record["arm"], {})[record["configuration"]] = record["parameters"]
    return found


def as_order(study: Study, run: Run, storage: Storage, data_root: Path | None) -> dict[str, Any]:
    """Return a run's picklable order: all that a worker needs, and all that `repro` needs to do it again."""
    return {
        "payload": run.payload,
        "key": run.key,
        "folder": storage.run(run.key),
        "data_root": data_root,
        "cache": storage.cache,
        "limits": run.limits,
        "plugins": tuple(study.plugins),
        "checkpoints": study.checkpoints,
        "trunk": storage.trunk(run.trunk) if run.trunk else None,
        **study.resources.model_dump(),
    }


def as_record(study: Study, run: Run, result: Mapping[str, Any], origin: Mapping[str, str]) -> dict[str, Any]:
    """Return the ledger's record of a run."""
    return {
        "kind": "run",
        "key": run.key,
        "study": study.study,
        "arm": run.arm.key,
        "axes": run.arm.axes,
        "configuration": run.configuration,
        "parameters": run.parameters,
        "stage": run.stage,
        "seed": run.seed,
        **result,
        **origin,
    }


@cache
def provenance() -> dict[str, str]:
    """Return the state of the code and the versions of the libraries that can change a number."""
    names = ("torch", "numpy", "ray", "optuna", "mlflow")
    return {"git": git_state(), "versions": " ".join(f"{name}-{version(name)}" for name in names)}


def git_state() -> str:
    """Return the commit of this project, with + if files differ from it, or `unknown` outside a repository."""
    if not (ROOT / ".git").exists():
        return "unknown"
    try:
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
