"""Studies of small copies of published datasets, from their downloads to the table."""

from __future__ import annotations

import pytest

from tests.models.data.sources.miniatures import WRITERS
from tests.models.towers import saved

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


def test_a_frozen_clip_is_told_the_classes_by_name_and_probed(here, study_file, tmp_path):
    """As in the study clip_probe: it reads each modality of each split once, whatever is trained on its features."""
    WRITERS["food101"](tmp_path / "data")
    clip = str(saved("clip"))
    encoder = {"name": "hf", "model": clip, "pooling": "pooler", "trainable": "none"}
    path = study_file(
        dataset={"name": "food101", "tokenizer": clip, "length": 12, "size": 16},
        encoders={"tokens": encoder, "image": encoder},
        methods=[{"name": "clip_zero_shot", "space": {"model": clip, "prompt": "a {}"}}, "unimodal", "joint"],
        search={"configurations": 1, "seeds": [0]},
        final={"seeds": [100]},
        report={"metrics": ["accuracy"]},
    )
    told = here("run", path, "--data-root", tmp_path / "data")
    assert told.code == 0, told.err
    names = [row.split("|")[1].strip() for row in told.table[2:]]
    assert names == ["clip_zero_shot", "unimodal text", "unimodal image", "joint"]
    kept = [folder for folder in (tmp_path / "store").rglob("features-*") if folder.is_dir()]
    assert len(kept) == 2 * 3
