"""A study through real Ray, real Optuna and real MLflow, read back through MLflow's own client."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def test_a_study_of_two_arms(sweeper, study_file, tmp_path):
    path = study_file()
    first = sweeper("run", path)
    assert first.returncode == 0, first.stderr
    assert "| joint" in first.stdout
    assert "Traceback" not in first.stderr
    assert "Warning" not in first.stderr
    ledger = tmp_path / "store" / "ledger.jsonl"
    records = [json.loads(line) for line in ledger.read_text().splitlines()]
    runs = [r for r in records if r["kind"] == "run"]
    # two arms × (3 configurations on the first seed, the better 2 on the second, 2 report seeds)
    assert len(runs) == 2 * (3 + 2 + 2)
    assert {r["status"] for r in runs} == {"done"}
    assert all(list(r["metrics"]) == ["validation"] for r in runs if r["stage"] == "search")
    assert all(list(r["metrics"]) == ["validation", "test/clean"] for r in runs if r["stage"] == "final")

    second = sweeper("run", path)
    assert second.returncode == 0
    assert second.stdout == first.stdout
    assert ledger.read_text().count("\n") == len(records)

    wider = sweeper("run", path, "--set", "final.seeds=[100,101,102]")
    assert wider.returncode == 0
    more = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert len([r for r in more if r["kind"] == "run"]) == len(runs) + 2

    noisy = sweeper(
        "run", path, "--set", "final.seeds=[100,101,102]", "--set", "conditions=[clean,feature-5]"
    )
    assert noisy.returncode == 0, noisy.stderr
    assert "feature-5" in noisy.stdout
    latest = {r["key"]: r for r in map(json.loads, ledger.read_text().splitlines()) if r["kind"] == "run"}
    assert len(latest) == len(runs) + 2
    for old in more:
        if old["kind"] == "run" and old["stage"] == "final":
            assert latest[old["key"]]["metrics"]["test/clean"] == old["metrics"]["test/clean"]
            assert "test/feature-5" in latest[old["key"]]["metrics"]

    script = f"""
import mlflow, warnings
warnings.simplefilter("ignore")
client = mlflow.MlflowClient("sqlite:///{tmp_path}/store/mlflow.db")
experiment = client.get_experiment_by_name("tiny")
runs = client.search_runs([experiment.experiment_id], max_results=1000)
children = [r for r in runs if "mlflow.parentRunId" in r.data.tags]
ids = {{r.info.run_id for r in runs}}
assert len(children) == {len(runs) + 2}, len(children)
assert all(r.data.tags["mlflow.parentRunId"] in ids for r in children)
assert all(r.info.status == "FINISHED" for r in children)
assert sum("test.feature-5.accuracy" in r.data.metrics for r in children) == 6
"""
    check = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert check.returncode == 0, check.stderr

    (shown,) = tmp_path.glob("store/mlartifacts/*/artifacts/figures/table.png")
    drawn = tmp_path / "store" / "studies" / "tiny" / "figures" / "table.png"
    assert shown.read_bytes() == drawn.read_bytes()  # of the last run, though drawing ends after all else
    assert (tmp_path / "store" / "optuna.db").exists()
    rebuilt = sweeper("report", "tiny", "--from-mlflow", f"sqlite:///{tmp_path}/store/mlflow.db")
    assert rebuilt.stdout.strip() == sweeper("report", "tiny").stdout.strip()
    assert rebuilt.stdout.strip() in noisy.stdout
