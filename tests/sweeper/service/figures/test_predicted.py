"""`sweeper confusion` and `sweeper uncertainty`: figures of what the nets of a finished study predicted."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from sweeper.ledger.file import Ledger
from sweeper.reports.plots.densities import density
from sweeper.tracking import predictions

STUDY = {
    "methods": ["joint", "eruw"],
    "dataset": {"name": "synthetic", "train": 64, "validation": 48, "test": 48},
    "search": {"configurations": 1, "seeds": [0]},
    "final": {"seeds": [100, 101]},
    "train": {"epochs": 1},
    "conditions": ["clean", "gaussian-5@m0"],
}


@pytest.fixture
def finished(here, study_file):
    assert here("run", study_file(**STUDY)).code == 0
    return here


@pytest.fixture
def figures(tmp_path):
    return tmp_path / "store" / "studies" / "tiny" / "figures"


def counts(path) -> dict[tuple[str, str], np.ndarray]:
    """Return the matrices of a file of counts, by method and rows."""
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    for line in csv.DictReader(path.read_text().splitlines()):
        found.setdefault((line["method"], line["rows"]), []).append(line)
    matrices = {}
    for key, lines in found.items():
        n = round(len(lines) ** 0.5)
        matrices[key] = np.zeros((n, n), int)
        for line in lines:
            matrices[key][int(line["class"]), int(line["predicted"])] = int(line["count"])
    return matrices


@pytest.mark.parametrize(
    ("condition", "name", "draws"), [("clean", "", 1), ("gaussian-5@m0", "-gaussian-5-m0", 5)]
)
def test_a_confusion_matrix_counts_the_test_rows_of_all_report_seeds(
    finished, figures, tmp_path, condition, name, draws
):
    told = finished("confusion", "tiny", "--condition", condition)
    assert told.code == 0
    (table,) = figures.glob("confusion-*.csv")
    assert table.stem.endswith(name)
    assert str(table) in told.out
    assert table.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    runs = [run for run in Ledger(tmp_path / "store" / "ledger.jsonl").runs.values() if run.stage == "final"]
    for method, matrix in ((key[0], own) for key, own in counts(table).items()):
        own = [run for run in runs if run.axes["method"] == method]
        assert matrix.sum() == 2 * 48 * draws
        accuracy = np.mean([run.metrics[f"test/{condition}"]["accuracy"] for run in own])
        assert matrix.trace() / matrix.sum() == pytest.approx(accuracy)


def test_beside_it_stand_the_rows_that_are_certain_enough(finished, figures, tmp_path):
    runs = Ledger(tmp_path / "store" / "ledger.jsonl").runs.values()
    final = [run.key for run in runs if run.axes["method"] == "eruw" and run.stage == "final"]
    arrays = [predictions.read(tmp_path / "store" / "runs" / key)["clean"] for key in final]
    uncertain = np.concatenate([own["uncertainty"] for own in arrays])
    told = finished("confusion", "tiny", "--certain", np.median(uncertain))
    assert "left out: joint: its method says no uncertainty of a prediction" in told.out
    (table,) = figures.glob("confusion-*.csv")
    every, certain = counts(table).values()
    assert (every.sum(), certain.sum()) == (2 * 48, (uncertain <= np.median(uncertain)).sum())
    assert (certain <= every).all()


def test_uncertainty_has_a_figure_for_each_arm_that_says_one(finished, figures):
    told = finished("uncertainty", "tiny")
    assert told.code == 0
    assert "left out: joint: its method says no uncertainty of a prediction" in told.out
    assert {path.name for path in figures.glob("uncertainty*")} == {
        "uncertainty-eruw.png",
        "uncertainty-eruw.pdf",
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("confusion", "tiny", "--condition", "salt-5"),
            "unknown condition 'salt-5' in the conditions of study 'tiny'",
        ),
        (("confusion", "tine"), "unknown study 'tine'"),
        (("uncertainty", "tine"), "unknown study 'tine'"),
    ],
)
def test_what_cannot_be_drawn_is_told_in_a_sentence(finished, arguments, said):
    told = finished(*arguments)
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert said in told.err


def test_numbers_have_no_confusion_matrix(here, study_file):
    dataset = {**STUDY["dataset"], "task": "regression"}
    changes = {"dataset": dataset, "methods": ["joint"], "conditions": ["clean"], "select": {"metric": "mae"}}
    assert here("run", study_file(**{**STUDY, **changes})).code == 0
    told = here("confusion", "tiny")
    assert (told.code, "joint: what it predicts is no class" in told.err) == (2, True)


def test_a_density_is_that_of_gaussian_kernels_reflected_at_both_ends():
    from scipy.stats import gaussian_kde

    values = np.random.default_rng(0).beta(2, 5, size=400)
    at = np.linspace(0, 1, 101)
    kernels = gaussian_kde(values, "scott")
    expected = kernels(at) + kernels(-at) + kernels(2 - at)
    np.testing.assert_allclose(density(values, at), expected, rtol=1e-6)
    assert np.trapezoid(density(values, at), at) == pytest.approx(1, abs=1e-3)


def test_rows_that_are_all_alike_have_a_density_too():
    at = np.linspace(0, 1, 201)
    found = density(np.full(10, 0.25), at)
    assert at[found.argmax()] == pytest.approx(0.25)
    assert np.trapezoid(found, at) == pytest.approx(1, abs=1e-3)
