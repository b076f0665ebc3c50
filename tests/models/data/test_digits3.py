"""`digits3`: who is in which split, how recordings are paired, and that each modality can be learnt."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sweeper.models.data import inputs, load_dataset
from sweeper.models.data.splits import SPLITS
from sweeper.models.errors import UserError

ROOT = Path(os.environ.get("SWEEPER_DATA", "absent"))
needs_data = pytest.mark.skipif(
    not (ROOT / "digits3").is_dir(),
    reason="SWEEPER_DATA names no folder with digits3",
)


def people(modality):
    """Return {image as bytes: the people who made it}."""
    raw = np.load(ROOT / "digits3" / "spoken_written_signed_digits.npz")
    who = {
        "spoken": raw["spoken_speaker"],
        "signed": raw["signed_student"],
        "written": raw["written_split"],  # 0: one of 30 writers, 1: one of 13 others
    }[modality]
    owners = {}
    for image, person in zip(raw[modality], who, strict=True):
        owners.setdefault(image.tobytes(), set()).add(int(person))
    return owners


def makers(dataset, modality, split):
    owners = people(modality)
    return set().union(*(owners[image.tobytes()] for image in dataset.inputs[modality][dataset.rows[split]]))


@needs_data
def test_has_the_documented_sizes_and_stays_compact():
    dataset = load_dataset("digits3", {}, ROOT)
    assert dataset.spec.sizes == {"train": 2000, "validation": 500, "test": 1000}
    assert {m: s.shape for m, s in dataset.spec.modalities.items()} == {
        "spoken": (1, 32, 32),
        "written": (1, 8, 8),
        "signed": (1, 32, 32),
    }
    assert {x.dtype for x in dataset.inputs.values()} == {np.dtype(np.uint8)}
    for split in SPLITS:
        assert len(set(np.bincount(dataset.target[dataset.rows[split]]))) == 1


@needs_data
@pytest.mark.parametrize("seed", [0, 1])
def test_nobody_stands_in_train_and_test(seed):
    dataset = load_dataset("digits3", {"pairing_seed": seed}, ROOT)
    for m in dataset.inputs:
        train, validation, test = (makers(dataset, m, s) for s in SPLITS)
        assert not test & (train | validation)
        assert m == "written" or not train & validation
    assert makers(dataset, "spoken", "test") == {5}
    assert makers(dataset, "signed", "test") == set(range(187, 220))


@needs_data
def test_a_pairing_seed_changes_partners_not_splits():
    a, b, again = (load_dataset("digits3", {"pairing_seed": s}, ROOT) for s in (0, 1, 0))
    for split in SPLITS:
        np.testing.assert_array_equal(a.rows[split], b.rows[split])
        for m in ("spoken", "signed"):
            assert makers(a, m, split) == makers(b, m, split)
    np.testing.assert_array_equal(a.target, b.target)
    for m in a.inputs:
        np.testing.assert_array_equal(a.inputs[m], again.inputs[m])
    partners = [
        {(s.tobytes(), g.tobytes()) for s, g in zip(d.inputs["spoken"], d.inputs["signed"], strict=True)}
        for d in (a, b)
    ]
    assert len(partners[0] & partners[1]) < 0.05 * len(partners[0])


@needs_data
def test_pairs_by_class_and_uses_recordings_equally_often():
    dataset = load_dataset("digits3", {}, ROOT)
    raw = np.load(ROOT / "digits3" / "spoken_written_signed_digits.npz")
    for m, images in dataset.inputs.items():
        labels = {x.tobytes(): label for x, label in zip(raw[m], raw[f"{m}_label"], strict=True)}
        assert [labels[x.tobytes()] for x in images] == dataset.target.tolist()
        for split in SPLITS:
            rows = dataset.rows[split]
            for c in range(10):
                uses = Counter(x.tobytes() for x in images[rows[dataset.target[rows] == c]])
                assert max(uses.values()) - min(uses.values()) <= 1
    assert len({x.tobytes() for x in dataset.inputs["spoken"]}) == 3000


@needs_data
def test_leaving_a_modality_out_changes_nothing_in_the_others():
    whole = load_dataset("digits3", {}, ROOT)
    part = load_dataset("digits3", {"modalities": ["signed", "written"]}, ROOT)
    assert list(part.inputs) == ["signed", "written"]
    for m, x in part.inputs.items():
        np.testing.assert_array_equal(x, whole.inputs[m])
        assert part.scale[m] == whole.scale[m]


@needs_data
@pytest.mark.parametrize(("modality", "accuracy"), [("spoken", 0.65), ("written", 0.9), ("signed", 0.7)])
def test_a_plain_model_learns_each_modality(modality, accuracy):
    from sklearn.linear_model import RidgeClassifier

    dataset = load_dataset("digits3", {"modalities": [modality]}, ROOT)
    mean, std = dataset.scale[modality]
    x = (dataset.inputs[modality].reshape(len(dataset.target), -1) - mean) / std
    train, validation = dataset.rows["train"], dataset.rows["validation"]
    model = RidgeClassifier(alpha=1000).fit(x[train], dataset.target[train])
    assert model.score(x[validation], dataset.target[validation]) > accuracy


@pytest.mark.parametrize("choice", [[], ["spoken", "spoken"]])
def test_modalities_are_chosen_once_each(choice):
    with pytest.raises(UserError, match="one or more of spoken, written, signed, each once"):
        inputs("digits3", {"modalities": choice})


def test_another_file_in_the_place_of_digits3_is_refused(tmp_path):
    (tmp_path / "digits3").mkdir()
    np.savez(tmp_path / "digits3" / "spoken_written_signed_digits.npz", spoken=np.zeros((3, 2, 2)))
    with pytest.raises(UserError, match="lacks the array 'spoken_speaker'"):
        load_dataset("digits3", {}, tmp_path)
