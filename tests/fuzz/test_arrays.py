"""Files of arrays that are anything: the dataset, or what is wrong in one sentence."""

from __future__ import annotations

import io
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sweeper.models.data import fingerprint, inputs, load_dataset, task
from sweeper.models.errors import UserError
from sweeper.models.values import AXES
from tests.fuzz.ends import ends_well, one_sentence

N = 12
GOOD = {
    "x_a": np.arange(36, dtype=np.float32).reshape(N, 3),
    "x_b": np.arange(96, dtype=np.uint8).reshape(N, 4, 2),
    "y": np.tile([0, 1, 2], 4),
    "split": np.repeat(["train", "validation", "test"], [6, 3, 3]),
    "group": np.repeat([0, 1, 2], [6, 3, 3]),
    "b_length": np.full(N, 4),
    "a_present": np.arange(N) > 0,
}
TASKS = [None, "classification", "multilabel", "regression", "segmentation"]

dtypes = st.one_of(
    hnp.scalar_dtypes(),
    hnp.byte_string_dtypes(max_len=4),
    hnp.unicode_string_dtypes(max_len=4),
    hnp.array_dtypes(max_size=2),
    st.sampled_from(
        [np.dtype("f4"), np.dtype("f8"), np.dtype("i8"), np.dtype("u1"), np.dtype("O"), np.dtype("f2")]
    ),
)
shapes = st.sampled_from([(N,), (N, 1), (N, 2), (N, 3, 2), (N, 2, 4, 4), (N, 2, 1, 4, 4)]) | hnp.array_shapes(
    min_dims=0, max_dims=6, min_side=0, max_side=13
)
names = st.sampled_from(
    [*GOOD, "a_length", "b_present", "x_", "x_1", "x_c", "c_length", "arr_0", "x_a/b", "../x_a"]
)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Draw an array of any shape and type, or a good one with other numbers in it."""
    if draw(st.booleans()):
        good = GOOD[draw(st.sampled_from(list(GOOD)))]
        return draw(hnp.arrays(good.dtype, good.shape, elements=None, fill=st.sampled_from(list(good.flat))))
    dtype = draw(dtypes)
    if dtype.hasobject:
        return np.full(draw(shapes), draw(st.sampled_from([None, "word", 1.5, [1]])), dtype)
    return draw(hnp.arrays(dtype, draw(shapes), fill=st.nothing() if dtype.kind == "V" else None))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def usable(folder: Path, path: str, **options: object) -> None:
    """See that a file of arrays is a dataset whose numbers are finite, or is refused in one sentence."""
    given = {"path": path, **{name: value for name, value in options.items() if value is not None}}
    study = {"study": "s", "dataset": {"name": "arrays", **given}, "methods": ["joint", "unimodal"]}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    ends_well("plan", folder / "study.yaml", "--storage", folder / "store", "--data-root", folder)
    try:
        known = inputs("arrays", given, root=folder), task("arrays", given, root=folder)
        fingerprint("arrays", given, root=folder)
        found = load_dataset("arrays", given, root=folder)
    except UserError as error:
        one_sentence(error)
        return
    assert found.spec.task == known[1]
    assert {m: s.shape for m, s in found.spec.modalities.items()} == {m: s.shape for m, s in known[0].items()}
    for m, statistics in found.statistics.items():
        assert np.isfinite([*statistics.range, *map(np.sum, found.scale.get(m, ()))]).all()


changes = st.dictionaries(names, st.none() | arrays(), max_size=3)
options = st.fixed_dictionaries(
    {},
    optional={
        "task": st.sampled_from(TASKS),
        "kinds": st.dictionaries(
            st.sampled_from(["a", "b", "c"]), st.sampled_from([*AXES, "odd"]), max_size=2
        ),
        "standardize": st.sampled_from(["feature", "modality", "none"]),
        "validation_fraction": st.floats(),
        "split_seed": st.integers(),
    },
)


@given(changes=changes, options=options, folded=st.booleans(), base=st.sampled_from([{}, GOOD]))
def test_arrays_of_any_shape_and_type(folder, changes, options, folded, base):
    made = {name: array for name, array in {**base, **changes}.items() if array is not None}
    shutil.rmtree(folder / "own", ignore_errors=True)
    (folder / "own").mkdir()
    with warnings.catch_warnings(action="ignore"):  # of fields whose names only a new NumPy reads
        np.savez(folder / "own.npz", **made)
        for name, array in made.items():
            np.save(folder / "own" / f"{name.replace('/', '_')}.npy", array)
    usable(folder, "own" if folded else "own.npz", **options)


WHOLE = io.BytesIO()
np.savez_compressed(WHOLE, **GOOD)


@given(start=st.floats(0, 1), length=st.integers(0, 3000), put=st.binary(max_size=20))
def test_an_archive_that_is_damaged(folder, start, length, put):
    whole = WHOLE.getvalue()
    at = round(start * len(whole))
    (folder / "own.npz").write_bytes(whole[:at] + put + whole[at + length :])
    usable(folder, "own.npz")


@given(content=st.binary() | st.binary().map(lambda tail: b"\x93NUMPY\x01\x00" + tail))
def test_files_that_are_anything(folder, content):
    (folder / "own.npz").write_bytes(content)
    usable(folder, "own.npz")
    shutil.rmtree(folder / "own", ignore_errors=True)
    (folder / "own").mkdir()
    (folder / "own" / "x_a.npy").write_bytes(content)
    np.save(folder / "own" / "y.npy", GOOD["y"])
    usable(folder, "own")


sizes = st.integers(0, 13) | st.sampled_from([2**31, 10**12, 2**62, 2**63, 10**30, -1])
heads = (
    st.builds(
        "{{'descr': {!r}, 'fortran_order': {}, 'shape': {}, }}".format,
        st.sampled_from(
            ["<f4", "<f8", "|u1", "<i8", "|O", "<U9", "|V0", "<U4000000000", "x", [("a", "<f4")]]
        ),
        st.booleans(),
        st.lists(sizes, max_size=4).map(tuple),
    )
    | st.text(max_size=30)
    | st.integers(50, 300).map(lambda n: "[" * n)
)


@given(
    head=heads,
    name=st.sampled_from(["x_a", "y", "split"]),
    version=st.integers(1, 4),
    body=st.integers(0, 200),
)
def test_heads_that_claim_what_is_not_there(folder, head, name, version, body):
    text = head.encode("utf-8", errors="replace") + b"\n"
    size = len(text).to_bytes(2 if version == 1 else 4, "little")
    array = b"\x93NUMPY" + bytes([version, 0]) + size + text + bytes(body)
    shutil.rmtree(folder / "own", ignore_errors=True)
    (folder / "own").mkdir()
    with zipfile.ZipFile(folder / "own.npz", "w") as archive:
        for key, good in GOOD.items():
            np.save(folder / "own" / f"{key}.npy", good)
            archive.write(folder / "own" / f"{key}.npy", f"{key}.npy") if key != name else None
        archive.writestr(f"{name}.npy", array)
    (folder / "own" / f"{name}.npy").write_bytes(array)
    for path in ("own.npz", "own"):
        usable(folder, path)
