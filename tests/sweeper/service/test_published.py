"""A study on a miniature of each shape of published data: sound with frames, colour with depth by pixel, sentiment."""

from __future__ import annotations

import pytest

from tests.models.data.sources import minis

pytestmark = pytest.mark.slow

STUDIES = {
    "sound and frames": (
        minis.crema,
        {
            "dataset": {
                "name": "crema_d",
                "spectrogram": "257x188",
                "frames": 2,
                "size": 32,
                "split": "actors",
            },
            "encoders": {
                "image": {"name": "resnet18", "width": 2},
                "video": {"name": "resnet18", "width": 2},
            },
        },
        "accuracy",
    ),
    "colour and depth by pixel": (
        minis.exported,
        {
            "dataset": {"name": "nyu_depth_v2", "task": "segmentation", "size": [12, 16]},
            "encoders": {"image": {"name": "maps", "width": 4}},
            "fusion": "decoder",
        },
        "miou",
    ),
    "sentiment": (
        lambda root: minis.mmsa(root, "cmu_mosi"),
        {"dataset": "cmu_mosi", "encoders": {"sequence": "sequence"}},
        "mae",
    ),
}


@pytest.mark.parametrize("shape", STUDIES)
def test_a_study_runs_to_its_table(sweeper, study_file, tmp_path, shape):
    write, changes, metric = STUDIES[shape]
    write(tmp_path / "data")
    study = {
        "select": {"metric": metric},
        "report": {"metrics": [metric]},
        "methods": ["joint"],
        "search": {"configurations": 1, "seeds": [0]},
        "final": {"seeds": [100]},
    }
    done = sweeper("run", study_file(**study, **changes), SWEEPER_DATA=str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    assert metric in done.stdout
    assert "joint" in done.stdout
