"""Studies of small copies of published datasets, from their downloads to the table."""

from __future__ import annotations

import pytest

from tests.models.data.sources.miniatures import WRITERS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "text", "metric"), [("twitter2015", "words", "accuracy"), ("mm_imdb", "bag", "micro_f1")]
)
def test_a_study_of_a_published_dataset(name, text, metric, sweeper, study_file, tmp_path):
    WRITERS[name](tmp_path / "data")
    path = study_file(
        dataset={"name": name, "text": text, "length": 8, "size": 16},
        methods=["joint"],
        search={"configurations": 1, "seeds": [0]},
        final={"seeds": [100]},
        select={"metric": metric},
        train={"epochs": 2},
    )
    planned = sweeper("plan", path, "--data-root", tmp_path / "data")
    assert (planned.returncode, planned.stderr) == (0, "")
    done = sweeper("run", path, "--data-root", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    header, _, row = (line for line in done.stdout.splitlines() if line.startswith("|"))
    assert all(f" {column} " in header for column in (metric, f"{metric}/text", f"{metric}/image"))
    assert row.startswith("| joint")
    assert f"dataset {name} (text {text}, length 8, size 16)" in done.stdout
