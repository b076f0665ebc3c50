"""`sweeper repro KEY`: a run done again from its record, and whether the numbers match."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from torch.backends.cpu import get_cpu_capability

from sweeper import bridge
from sweeper.cli import main
from sweeper.ledger.file import Ledger
from sweeper.ledger.uris import open_storage
from sweeper.running.orders import as_order, execute_here
from sweeper.service.session import as_record
from sweeper.study import schema as study
from sweeper.study.runs import Run
from sweeper.study.unfold import unfold

STUDY = {
    "study": "again",
    "dataset": {"name": "synthetic", "train": 64, "validation": 48, "test": 48},
    "methods": ["joint", "lfm", "ogm"],
    "search": {"configurations": 2, "seeds": [0]},
    "final": {"seeds": [100]},
    "train": {"epochs": 3},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Carry out the final run of each arm's defaults without Ray, and return {method: key}; `store` is beside it."""
    root = tmp_path_factory.mktemp("repro") / "store"
    storage = open_storage(str(root))
    loaded = study.parse(yaml.safe_load(yaml.safe_dump(STUDY)))
    ledger, keys = Ledger(storage.ledger), {"store": str(root)}
    for arm in unfold(loaded):
        run = Run(arm, 0, arm.defaults(), "final", 100)
        order = as_order(loaded, run, storage, None, loaded.resources)
        bridge.write_json(storage.run(run.key) / "run.json", order)
        ledger.append(as_record(loaded, run, execute_here(order), {"git": "g"}))
        keys[arm.axes["method"]] = run.key
    return keys


def alter(root: Path, key: str, **changes: object) -> None:
    """Make the run's record say something else."""
    path = root / "ledger.jsonl"
    records = [
        r | changes if r.get("key") == key else r for r in map(json.loads, path.read_text().splitlines())
    ]
    path.write_text("".join(json.dumps(r) + "\n" for r in records))


@pytest.mark.parametrize("method", ["joint", "lfm", "ogm"])
def test_a_run_done_again_matches_to_the_bit(runs, method, capsys):
    assert main(["repro", runs[method], "--storage", runs["store"]]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"run {runs[method]}: {method} #0, final seed 100"
    assert second.startswith("matches to the bit: ")
    assert int(second.split()[4]) > 10  # metrics that were compared


def test_the_beginning_of_a_key_is_enough_if_it_is_one_runs(runs, capsys):
    key = runs["joint"]
    others = [k for name, k in runs.items() if name not in ("joint", "store")]
    enough = next(n for n in range(1, 17) if not any(k.startswith(key[:n]) for k in others))
    assert main(["repro", key[:enough], "--storage", runs["store"]]) == 0
    assert f"run {key}:" in capsys.readouterr().out
    assert main(["repro", "", "--storage", runs["store"]]) == 2
    assert capsys.readouterr().err.startswith("sweeper: 3 runs begin with ''")
    assert main(["repro", "x", "--storage", runs["store"]]) == 2
    assert capsys.readouterr().err.startswith("sweeper: no run begins with 'x'; the ledger holds 3 runs")


@pytest.mark.parametrize(
    ("change", "verdict", "code"),
    [
        (1e-9, "matches: the largest difference is 1e-09 in test/clean accuracy", 0),
        (0.25, "does not match: the largest difference is 0.25 in test/clean accuracy", 1),
    ],
)
def test_an_altered_number_is_found(runs, tmp_path, capsys, change, verdict, code):
    root = copy(runs, tmp_path)
    metrics = json.loads(json.dumps(Ledger(root / "ledger.jsonl").runs[runs["joint"]].metrics))
    metrics["test/clean"]["accuracy"] += change
    alter(root, runs["joint"], metrics=metrics)
    assert main(["repro", runs["joint"], "--storage", str(root)]) == code
    assert capsys.readouterr().out.splitlines()[-1] == verdict


def test_a_metric_that_is_gone_does_not_match(runs, tmp_path, capsys):
    root = copy(runs, tmp_path)
    alter(root, runs["joint"], metrics={"test/clean": {"a_metric_of_old": 0.5}})
    assert main(["repro", runs["joint"], "--storage", str(root)]) == 1
    assert "does not match" in capsys.readouterr().out


def test_another_status_does_not_match(runs, tmp_path, capsys):
    root = copy(runs, tmp_path)
    alter(root, runs["joint"], status="diverged")
    assert main(["repro", runs["joint"], "--storage", str(root)]) == 1
    assert "does not match: it was diverged, now it is done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spread", "verdict", "code"),
    [
        # std of five seeds 0.0158, t(4) 2.78: two more differ by up to 0.0621 in 95 % of cases
        (0.01, "matches within the spread of seeds: accuracy on test/clean differs by 0.03,", 0),
        (0.001, "does not match: accuracy on test/clean differs by 0.03,", 1),
        (None, "does not match, and no other seed of its configuration tells how much it may", 1),
    ],
)
def test_other_hardware_is_judged_by_the_spread_of_seeds(runs, tmp_path, capsys, spread, verdict, code):
    root = copy(runs, tmp_path)
    ledger = Ledger(root / "ledger.jsonl")
    record = ledger.runs[runs["joint"]]
    then = json.loads(json.dumps(record.metrics))
    then["test/clean"]["accuracy"] += 0.03
    for seed in range(1, 5) if spread else ():
        other = json.loads(json.dumps(then))
        for split in other.values():
            split["accuracy"] += (seed if seed % 2 else -seed + 1) * spread  # 1, -1, 3, -3 times
        ledger.append(replace(record, key=f"{seed:016x}", seed=100 + seed, metrics=other))
    alter(
        root,
        runs["joint"],
        metrics=then,
        hardware=record.hardware | {"capability": "of old", "gpu": "none such"},
    )
    assert main(["repro", runs["joint"], "--storage", str(root)]) == code
    *_, elsewhere, last = capsys.readouterr().out.splitlines()
    now = record.hardware["capability"]
    assert elsewhere == f"other hardware: capability of old then, {now} now; gpu none such then, none now"
    assert last.startswith(verdict)
    assert last.endswith("of all metrics test/clean accuracy differs most, by 0.03")


def test_equal_digits_on_other_hardware_and_libraries_match(runs, tmp_path, capsys):
    root = copy(runs, tmp_path)
    alter(root, runs["joint"], hardware={"capability": "of old"}, versions="torch-0.1 numpy-0.1 ray-0.1")
    assert main(["repro", runs["joint"], "--storage", str(root)]) == 0
    _, hardware, libraries, last = capsys.readouterr().out.splitlines()
    assert hardware.startswith("other hardware: ")
    assert libraries.startswith("other libraries: torch-0.1 numpy-0.1 then, torch-")
    assert last.startswith("matches to the bit: ")


def test_a_record_of_before_hardware_was_recorded_is_held_to_its_digits(runs, tmp_path, capsys):
    root = copy(runs, tmp_path)
    metrics = {"test/clean": {"accuracy": 2.0}}
    alter(root, runs["joint"], hardware={}, metrics=metrics)
    assert main(["repro", runs["joint"], "--storage", str(root)]) == 1
    assert "other hardware" not in capsys.readouterr().out


IMAGES = {
    "study": "images",
    "dataset": {"name": "synthetic", "kind": "image", "train": 400, "validation": 100, "test": 500},
    "encoders": {"image": "convnet"},
    "methods": ["joint"],
    "search": {"configurations": 1, "seeds": [0]},
    "final": {"seeds": [100, 101, 102]},
    "train": {"epochs": 12, "optimizer": "adam", "lr": 0.01},
}


@pytest.mark.slow
@pytest.mark.skipif(
    "AVX512" not in get_cpu_capability(), reason="this processor has no AVX-512 to do without"
)
def test_a_run_of_avx512_is_repeated_on_avx2(here, sweeper, tmp_path):
    """Its digits differ, its accuracy by no more than between seeds."""
    path = tmp_path / "images.yaml"
    path.write_text(yaml.safe_dump(IMAGES))
    assert here("run", path).code == 0
    run = next(r for r in Ledger(tmp_path / "store/ledger.jsonl").runs.values() if r.stage == "final")
    assert run.hardware["capability"] == "AVX512"
    narrow = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
    told = sweeper("repro", run.key, **narrow)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "other hardware: capability AVX512 then, AVX2 now; limits none then" in told.stdout
    assert "matches within the spread of seeds: accuracy on " in told.stdout


def test_changed_code_is_said(runs, tmp_path, capsys):
    root = copy(runs, tmp_path)
    path = root / "runs" / runs["joint"] / "run.json"
    order = json.loads(path.read_text())
    order["payload"]["code"] = "0123456789abcdef"
    path.write_text(json.dumps(order))
    assert main(["repro", runs["joint"], "--storage", str(root)]) == 0
    assert "the code has changed since (digest 0123456789abcdef then, " in capsys.readouterr().out


def test_a_record_alone_cannot_be_done_again(runs, tmp_path, capsys):
    root = copy(runs, tmp_path)
    (root / "runs" / runs["joint"] / "run.json").unlink()
    assert main(["repro", runs["joint"], "--storage", str(root)]) == 2
    assert "only its record is left" in capsys.readouterr().err


def copy(runs: dict[str, str], tmp_path: Path) -> Path:
    """Return a copy of the storage that a test may change."""
    import shutil

    return Path(shutil.copytree(runs["store"], tmp_path / "store"))
