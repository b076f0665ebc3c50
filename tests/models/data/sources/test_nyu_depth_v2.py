"""NYU Depth v2 from miniature copies of its three layouts."""

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from sweeper.models.data import fingerprint, inputs, kept_bytes, load_dataset, task
from sweeper.models.data.sources import nyu_depth_v2
from sweeper.models.errors import UserError
from tests.models.data.sources import minis

RED, GREEN = (200, 0, 0), (0, 200, 0)


def side_by_side(root, count=3):
    """One picture per sample, its left half red, its right half green."""
    picture = Image.new("RGB", (24, 8), RED)
    picture.paste(GREEN, (12, 0, 24, 8))
    for split in ("train", "val", "test"):
        for scene in ("bedroom", "kitchen"):
            folder = root / "nyud2_trainvaltest" / split / scene
            folder.mkdir(parents=True)
            for i in range(count):
                picture.save(folder / f"{i:04d}.png")


def test_scenes_have_colour_in_the_left_half_and_depth_in_the_right(tmp_path, capsys):
    side_by_side(tmp_path)
    dataset = load_dataset("nyu_depth_v2", {"size": 8}, tmp_path, tmp_path / "cache")
    assert dataset.spec.modalities == inputs("nyu_depth_v2", {"size": 8}, tmp_path)
    assert kept_bytes("nyu_depth_v2", {"size": 8}, tmp_path) == minis.on_disk(tmp_path / "cache")
    assert dataset.spec.sizes == {"train": 6, "validation": 6, "test": 6}
    assert dataset.inputs["rgb"][0, :, 4, 4].tolist() == list(RED)
    assert dataset.inputs["depth"][0, :, 4, 4].tolist() == list(GREEN)
    assert dataset.target[:6].tolist() == [0, 0, 0, 1, 1, 1]
    assert "12 of 795 in train, 6 of 654 in test" in capsys.readouterr().err


DENSE = {"task": "segmentation", "size": [12, 16], "standardize": "none"}


def test_pixels_have_forty_classes_counted_from_0_and_void_where_the_export_has_0(tmp_path):
    minis.exported(tmp_path)
    dataset = load_dataset("nyu_depth_v2", DENSE, tmp_path, tmp_path / "cache")
    assert task("nyu_depth_v2", DENSE) == dataset.spec.task == "segmentation"
    assert dataset.spec.n_classes == len(nyu_depth_v2.OBJECTS) == 40
    assert dataset.spec.classes == nyu_depth_v2.OBJECTS
    assert dataset.target[0].reshape(-1)[:41].tolist() == [-1, *range(40)]
    assert dataset.spec.modalities == inputs("nyu_depth_v2", DENSE, tmp_path)
    assert dataset.spec.sizes == {"train": 5, "validation": 1, "test": 3}


def test_depth_keeps_its_sixteen_bits(tmp_path):
    minis.exported(tmp_path)
    depth = load_dataset("nyu_depth_v2", DENSE, tmp_path, tmp_path / "cache").inputs["depth"]
    assert depth[:6, 0, 0, 0].tolist() == [3000, 3001, 3002, 3003, 3004, 3005]


def test_a_frame_without_its_labels_is_told_by_name(tmp_path):
    minis.exported(tmp_path)
    (tmp_path / "nyu_depth_v2/train/labels_40/0002.png").unlink()
    with pytest.raises(UserError, match=r"labels_40/0002\.png"):
        load_dataset("nyu_depth_v2", DENSE, tmp_path, tmp_path / "cache")


def official(root, kinds=nyu_depth_v2.SCENES):
    """Five rooms for train and one for test of every kind, two frames each, as MATLAB writes HDF5: axes reversed."""
    folder = root / "nyu_depth_v2"
    folder.mkdir()
    kinds = [kind if kind != "others" else "cafe" for kind in kinds]
    rooms = [(kind, f"{kind}_{room:04d}", room) for kind in kinds for room in range(6) for _ in range(2)]
    with h5py.File(folder / "nyu_depth_v2_labeled.mat", "w") as file:
        images = np.zeros((len(rooms), 3, 16, 12), np.uint8)
        images[:, 0] = 200
        images[:, 1, :, 6:] = 100  # the lower half
        file["images"] = images
        file["depths"] = np.tile(np.linspace(1, 2, 12, dtype=np.float32), (len(rooms), 16, 1))
        for key, column in (("sceneTypes", 0), ("scenes", 1)):
            references = []
            for i, room in enumerate(rooms):
                name = f"#refs#/{key}{i}"
                file[name] = np.array([[ord(letter)] for letter in room[column]], np.uint16)
                references.append(file[name].ref)
            file.create_dataset(key, data=np.array([references], dtype=h5py.ref_dtype), dtype=h5py.ref_dtype)
    numbers = {name: [] for name in ("trainNdxs", "testNdxs")}
    for i, (_, _, room) in enumerate(rooms):
        numbers["testNdxs" if room == 5 else "trainNdxs"].append([i + 1])
    savemat(folder / "splits.mat", numbers)
    return rooms


def test_the_official_file_gives_scenes_and_keeps_rooms_apart(tmp_path):
    rooms = official(tmp_path)
    options = {"size": 8, "standardize": "none"}
    dataset = load_dataset("nyu_depth_v2", options, tmp_path, tmp_path / "cache")
    assert dataset.spec.sizes["test"] == 20
    assert dataset.spec.n_classes == 10
    name = np.array([room for _, room, _ in rooms])
    assert not set(name[dataset.rows["train"]]) & set(name[dataset.rows["validation"]])
    assert dataset.inputs["rgb"][0, :, 7, 0].tolist() == [200, 100, 0]
    depth = dataset.inputs["depth"]
    assert depth.shape == (120, 1, 8, 8)
    assert 1 <= depth[0, 0, 0, 0] < depth[0, 0, 7, 0] <= 2
    assert dataset.spec.modalities == inputs("nyu_depth_v2", options, tmp_path)
    scenes = nyu_depth_v2.samples(tmp_path)
    assert scenes.classes[scenes.target[-1]] == "others"


def test_the_fingerprint_is_of_pictures_and_labels(tmp_path):
    minis.exported(tmp_path)
    before = fingerprint("nyu_depth_v2", DENSE, tmp_path)
    Image.new("L", (16, 12), 7).save(tmp_path / "nyu_depth_v2/train/labels_40/0000.png")
    assert fingerprint("nyu_depth_v2", DENSE, tmp_path) != before


def test_what_lacks_is_said(tmp_path):
    with pytest.raises(UserError, match="classification needs"):
        nyu_depth_v2.samples(tmp_path)
    (tmp_path / "nyu_depth_v2").mkdir()
    with pytest.raises(UserError, match="ESANet"):
        nyu_depth_v2.samples(tmp_path, "segmentation")
