"""NVGesture from a miniature copy of its folders and lists."""

from collections import Counter

import numpy as np
import pytest

from sweeper.models.data import inputs, kept_bytes, load_dataset
from sweeper.models.data.sources import nvgesture
from sweeper.models.errors import UserError
from tests.models.data.sources import minis

SMALL = {"frames": 2, "size": 8}
DARK, BRIGHT = [0] * 4, [200] * 4  # before and within a gesture
SUBJECTS = {"train": (1, 2, 3), "test": (4,)}


def line(label, subject):
    folder = f"class_{label:02d}/subject{subject}_r0"
    return f"path:./Video_data/{folder} duo_left:duo_left:4:8 depth:sk_depth:5:8 color:sk_color:4:8 label:{label} "


def gestures(root, version="_correct_cvpr2016_v2"):
    """Every gesture by four subjects, each bright between the frames that the lists name."""
    folder = root / "NVGesture"
    every = minis.video(folder / "template.avi", DARK + BRIGHT).read_bytes()
    for split, subjects in SUBJECTS.items():
        rows = [(label, subject) for label in range(1, 26) for subject in subjects]
        minis.table(folder / f"nvgesture_{split}{version}.lst", *(line(*row) for row in rows), "")
        for label, subject in rows:
            own = folder / "Video_data" / f"class_{label:02d}" / f"subject{subject}_r0"
            own.mkdir(parents=True)
            (own / "sk_color.avi").write_bytes(every)
            (own / "sk_depth.avi").write_bytes(every)
    return folder


def test_labels_count_from_0_and_frames_are_those_of_the_gesture(tmp_path, capsys):
    gestures(tmp_path)
    dataset = load_dataset("nvgesture", SMALL, tmp_path, tmp_path / "cache")
    assert dataset.spec.modalities == inputs("nvgesture", SMALL, tmp_path)
    assert kept_bytes("nvgesture", SMALL, tmp_path) == minis.on_disk(tmp_path / "cache")
    assert dataset.target[:6].tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.spec.n_classes == 25
    assert dataset.inputs["color"].shape == (100, 2, 3, 8, 8)
    assert dataset.inputs["color"].min() > 150
    assert "75 of 1,050 in train, 25 of 482 in test" in capsys.readouterr().err


def test_validation_holds_whole_subjects_of_train(tmp_path):
    gestures(tmp_path)
    options = {**SMALL, "modalities": ["depth"]}
    dataset = load_dataset("nvgesture", options, tmp_path, tmp_path / "cache")
    subject = nvgesture.samples(tmp_path).group
    parts = [set(subject[dataset.rows[s]]) for s in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [2, 1, 1]
    assert len(set.union(*parts)) == 4
    assert list(dataset.inputs) == ["depth"]


@pytest.mark.parametrize("version", ["_correct", "_correct_v2", "_correct_cvpr2016", "_correct_cvpr2016_v2"])
def test_every_name_of_the_lists_is_known(tmp_path, version):
    gestures(tmp_path, version)
    samples = nvgesture.samples(tmp_path)
    assert Counter(samples.split) == {"train": 75, "test": 25}
    assert all(cell[0].exists() for cells in samples.cells.values() for cell in cells)


def test_a_video_that_ends_before_its_gesture_is_refused_by_name(tmp_path):
    folder = gestures(tmp_path)
    minis.video(folder / "Video_data/class_03/subject2_r0/sk_color.avi", [0] * 5)
    with pytest.raises(UserError, match=r"ends before frame 8.*class_03/subject2_r0/sk_color\.avi"):
        load_dataset("nvgesture", SMALL, tmp_path, tmp_path / "cache")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (line(26, 1), "label '26'"),
        (line(0, 1), "label '0'"),
        ("path:./Video_data/class_01/subject1_r0 color:sk_color:4 label:1", "line 1 does not read"),
        ("subject1_r0 1", "line 1 does not read"),
    ],
)
def test_a_line_that_does_not_read_is_told_by_its_number(tmp_path, row, told):
    folder = gestures(tmp_path)
    minis.table(folder / "nvgesture_test_correct_cvpr2016_v2.lst", row)
    with pytest.raises(UserError, match=told):
        nvgesture.samples(tmp_path)


def test_what_lacks_is_said(tmp_path):
    with pytest.raises(UserError, match="Video_data"):
        nvgesture.samples(tmp_path)
    (tmp_path / "NVGesture").mkdir()
    with pytest.raises(UserError, match="no pair of lists such as nvgesture_train_correct"):
        nvgesture.samples(tmp_path)


def test_where_the_lists_name_other_frames_they_are_read_anew(tmp_path):
    folder = gestures(tmp_path)
    first = load_dataset("nvgesture", SMALL, tmp_path, tmp_path / "cache")
    for path in folder.glob("*.lst"):
        path.write_text(path.read_text().replace(":4:8", ":0:4"))
    again = load_dataset("nvgesture", SMALL, tmp_path, tmp_path / "cache")
    assert np.asarray(first.inputs["color"]).min() > 150 > 50 > np.asarray(again.inputs["color"]).max()
