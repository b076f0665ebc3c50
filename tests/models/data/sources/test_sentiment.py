"""CMU-MOSI and CMU-MOSEI from miniature copies of MMSA's pickles."""

import os
import pickle

import numpy as np
import pytest

from sweeper.models.data import inputs, load_dataset
from sweeper.models.data.sentiment import steps
from sweeper.models.data.sources import cmu_mosi
from sweeper.models.errors import UserError
from tests.models.data.sources import minis


@pytest.mark.parametrize("name", minis.WIDTHS)
@pytest.mark.parametrize("aligned", [True, False])
def test_the_pickle_is_rows_splits_lengths_and_numbers_from_minus_three_to_three(tmp_path, name, aligned):
    minis.mmsa(tmp_path, name, aligned=aligned)
    dataset = load_dataset(name, {"aligned": aligned}, tmp_path)
    assert dataset.spec.sizes == {"train": 12, "validation": 5, "test": 6}
    assert dataset.spec.task == "regression"
    assert dataset.target[:4] == pytest.approx([-3, -2.4, -1, 0])
    assert list(dataset.lengths["audio"][:12]) == [minis.LONG, 3] * 6
    assert dataset.spec.modalities == inputs(name, {"aligned": aligned})


def test_sound_that_is_minus_infinity_or_no_number_is_0(tmp_path):
    minis.mmsa(tmp_path, "cmu_mosi")
    audio = load_dataset("cmu_mosi", {"standardize": "none"}, tmp_path).inputs["audio"]
    assert audio[0, 1, 0] == audio[1, 2, 1] == 0
    assert audio[0, 0, 0] != 0


def test_tokens_are_berts_and_as_long_as_the_text(tmp_path):
    minis.mmsa(tmp_path, "cmu_mosi")
    dataset = load_dataset("cmu_mosi", {"text": "tokens", "modalities": ["text"]}, tmp_path)
    assert dataset.spec.modalities["text"].kind == "tokens"
    assert list(dataset.lengths["text"][:2]) == [minis.LONG, 3]


def test_as_classes_sentiment_is_rounded_and_counted_from_0(tmp_path):
    minis.mmsa(tmp_path, "cmu_mosi")
    path = cmu_mosi.files(root=tmp_path)[0]
    parts = pickle.loads(path.read_bytes())
    parts["train"]["regression_labels"] = np.resize([-3, -2.4, -1, 0.5, 1.5, 3, -0.6, 1], 12)
    path.write_bytes(pickle.dumps(parts))
    dataset = load_dataset("cmu_mosi", {"task": "classification"}, tmp_path)
    assert list(dataset.target[:8]) == [0, 1, 2, 3, 5, 6, 2, 4]
    assert dataset.spec.n_classes == 7


def test_other_numbers_of_samples_than_published_are_told(tmp_path, capsys):
    minis.mmsa(tmp_path, "cmu_mosi")
    load_dataset("cmu_mosi", {}, tmp_path)
    told = capsys.readouterr().err
    assert "12 of 1,284 in train, 5 of 229 in validation, 6 of 686 in test" in told


def test_a_length_ends_with_the_last_step_that_is_not_0():
    found = steps(np.array([[0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 2]]))
    assert list(found) == [2, 1, 4]


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_the_pickle_is_unpickled_once_and_then_memory_mapped(tmp_path, protocol):
    path = minis.mmsa(tmp_path, "cmu_mosi", protocol=protocol)
    first = load_dataset("cmu_mosi", {}, tmp_path, tmp_path / "cache")
    stored = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").glob("cmu_mosi-*/*.npy")}
    (folder,) = (tmp_path / "cache").glob("cmu_mosi-*")
    os.utime(folder, (0, 0))
    again = load_dataset("cmu_mosi", {}, tmp_path, tmp_path / "cache")
    assert folder.stat().st_mtime > 0  # it counts as used now
    assert isinstance(again.inputs["audio"], np.memmap)
    assert all(p.stat().st_mtime_ns == time for p, time in stored.items())
    np.testing.assert_array_equal(
        first.inputs["audio"], load_dataset("cmu_mosi", {}, tmp_path).inputs["audio"]
    )
    assert path.exists()


class Calls:
    """What a pickle can ask for: any function with any arguments."""

    def __init__(self, function, *arguments):
        self.asked = function, arguments

    def __reduce__(self):
        return self.asked


@pytest.mark.parametrize("function", [os.system, eval, getattr, pickle.loads, np.load])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path, function):
    path = minis.mmsa(tmp_path, "cmu_mosi")
    mark = tmp_path / "ran"
    path.write_bytes(pickle.dumps({"train": Calls(function, f"touch {mark}")}))
    with pytest.raises(UserError, match="only arrays, texts, numbers and containers are read"):
        load_dataset("cmu_mosi", {}, tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "held", [b"", b"version https://git-lfs", pickle.dumps([1, 2]), pickle.dumps({"train": {}})]
)
def test_a_file_that_is_no_such_pickle_is_refused_in_a_sentence(tmp_path, held):
    path = minis.mmsa(tmp_path, "cmu_mosi")
    path.write_bytes(held)
    with pytest.raises(UserError, match=r"aligned_50\.pkl"):
        load_dataset("cmu_mosi", {}, tmp_path)


def test_what_to_download_is_said_where_it_lacks(tmp_path):
    with pytest.raises(UserError, match="MMSA"):
        load_dataset("cmu_mosi", {}, tmp_path)
