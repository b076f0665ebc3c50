"""A dataset, in memory or memory-mapped: inputs by modality, target, disjoint splits, and their checks."""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sweeper.models.data.targets import checked
from sweeper.models.errors import UserError, choose
from sweeper.models.streams import numpy_stream
from sweeper.models.values import DataSpec, InputSpec

SPLITS = ("train", "validation", "test")
# a modality's name becomes a torch submodule's, which may not be an attribute that modules have already
TAKEN_NAMES = frozenset(
    re.findall(
        r"\w+",
        """
    T_destination add_module apply bfloat16 buffers call_super_init children clear compile cpu cuda
    double dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter
    get_submodule half ipu items keys load_state_dict modules mtia named_buffers named_children
    named_modules named_parameters parameters pop register_backward_hook register_buffer
    register_forward_hook register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter
    register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state
    set_submodule share_memory smart_apply state_dict to to_empty train training type update values xpu
    zero_grad
    """,
    )
)


@dataclass(frozen=True)
class Dataset:
    """Inputs {m: (N, ...)}, target (N, ...), rows by split, present {m: (N,) bool} where a modality may lack.

    `scale` holds {m: (mean, std)}: a batch is float32 (x - mean) / std, so that compact integer arrays stay
    compact. Arrays may be memory-mapped.
    """

    spec: DataSpec
    inputs: dict[str, np.ndarray]
    target: np.ndarray
    rows: dict[str, np.ndarray]
    present: dict[str, np.ndarray] = field(default_factory=dict)
    scale: dict[str, tuple[float, float]] = field(default_factory=dict)


def assemble(
    name: str,
    inputs: Mapping[str, np.ndarray],
    target: np.ndarray,
    rows: Mapping[str, np.ndarray],
    *,
    cite: str,
    task: str = "classification",
    n_classes: int | None = None,
    present: Mapping[str, np.ndarray] | None = None,
    scale: Mapping[str, tuple[float, float]] | None = None,
) -> Dataset:
    """Check the arrays against each other and return them as a Dataset; C is the labels' unless given.

    Raises UserError for unequal lengths, types or shapes that no encoder takes, NaN or infinite inputs, a target
    that `task` does not take (targets.py), overlapping or empty splits, a row without any modality.
    """
    target = np.asarray(target)
    for modality, array in inputs.items():
        check_input(name, modality, array, len(target))
    check_splits(name, rows, len(target))
    target, n_classes, size = checked(name, task, target, rows["train"], n_classes)
    spec = DataSpec(
        name=name,
        modalities={m: InputSpec(tuple(int(n) for n in a.shape[1:])) for m, a in inputs.items()},
        n_classes=n_classes,
        sizes={split: len(rows[split]) for split in SPLITS},
        cite=cite,
        task=task,
        size=size,
    )
    for modality, shape in spec.modalities.items():
        if task == "segmentation" and shape.kind != "image":
            raise UserError(
                f"dataset {name!r}: modality {modality!r} is a {shape.kind} of shape {shape.shape}; segmentation needs"
                " an image (C, H, W) of every modality"
            )
    present = check_present(name, dict(present or {}), spec, len(target))
    return Dataset(spec, dict(inputs), target, dict(rows), present, dict(scale or {}))


def check_input(name: str, modality: str, array: np.ndarray, n: int) -> None:
    """Raise UserError unless `array` (N, ...) is a named modality of `n` samples that a net can take."""
    where = f"dataset {name!r}: modality {modality!r}"
    if not modality.isidentifier() or modality in TAKEN_NAMES:
        raise UserError(
            f"{where} has no usable name; letters, digits and underscores are admissible, a letter first,"
            " but not the name of a module's attribute such as type or values"
        )
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8 or not array.dtype.isnative:
        raise UserError(
            f"{where} has type {array.dtype.str}; plain numbers, like uint8 or float32, are needed"
        )
    if not 2 <= array.ndim <= 4 or 0 in array.shape[1:]:
        raise UserError(
            f"{where} has shape {array.shape}; a sample must be a vector (D,), a sequence (T, D) or an image"
            " (C, H, W)"
        )
    if len(array) != n:
        raise UserError(
            f"{where} has {len(array)} rows but the target has {n}; every array needs one row per sample"
        )
    start = 0
    for block in blocks(array, np.arange(n)) if array.dtype.kind == "f" else ():
        finite = (np.abs(block) <= np.finfo(np.float32).max).reshape(len(block), -1).all(1)
        if not finite.all():
            raise UserError(
                f"{where} holds NaN, infinity or a number beyond float32 in row"
                f" {start + int(np.argmin(finite))}; clean it first"
            )
        start += len(block)


def check_present(name: str, present: dict[str, np.ndarray], spec: DataSpec, n: int) -> dict[str, np.ndarray]:
    """Return `present` {m: (N,) bool} without modalities that no row lacks; raise UserError if unusable."""
    for modality, mask in present.items():
        if mask.dtype != bool or mask.shape != (n,):
            raise UserError(
                f"dataset {name!r}: presence of {modality!r} has type {mask.dtype} and shape {mask.shape};"
                f" true or false for each of the {n} samples is needed"
            )
    kept = {m: np.asarray(mask) for m, mask in present.items() if not mask.all()}
    if len(kept) == len(spec.modalities):
        lacking = ~np.any(list(kept.values()), axis=0)
        if lacking.any():
            raise UserError(
                f"dataset {name!r}: row {int(np.argmax(lacking))} lacks every modality; leave it out"
            )
    return kept


def check_splits(name: str, rows: Mapping[str, np.ndarray], n: int) -> None:
    """Raise UserError unless train, validation and test are non-empty, in range and disjoint."""
    for split in SPLITS:
        if not len(rows[split]):
            raise UserError(
                f"dataset {name!r}: split {split!r} is empty; each of train, validation, test needs rows"
            )
    every = np.concatenate([rows[split] for split in SPLITS])
    if len(np.unique(every)) != len(every) or every.min() < 0 or every.max() >= n:
        raise UserError(
            f"dataset {name!r}: a row stands in two splits or out of range; splits must be disjoint"
        )


def blocks(array: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield `array[rows]` in pieces of about four million numbers: a memory-mapped array stays on disk."""
    step = max(1, 2**22 // max(1, int(np.prod(array.shape[1:]))))
    for start in range(0, len(rows), step):
        yield array[rows[start : start + step]]


def standardized(dataset: Dataset) -> Dataset:
    """Return `dataset` with each modality's scale set to mean and std of the train rows that have it."""
    train = dataset.rows["train"]
    rows = {m: train[dataset.present[m][train]] if m in dataset.present else train for m in dataset.inputs}
    return replace(dataset, scale={m: mean_std(array, rows[m]) for m, array in dataset.inputs.items()})


def mean_std(array: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """Return mean and std of all numbers in `array[rows]`, piece by piece; a std that is only rounding is 1.

    Merges pieces by Chan, Golub & LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances (1979).
    """
    count, mean, spread = 0, 0.0, 0.0
    for block in blocks(array, rows):
        piece = block.astype(np.float64)
        gap, total = float(piece.mean()) - mean, count + piece.size
        spread += float(piece.var()) * piece.size + gap**2 * count * piece.size / total
        mean += gap * piece.size / total
        count = total
    std = (spread / max(count, 1)) ** 0.5
    return mean, std if std > 1e-7 * abs(mean) else 1.0


def carve(
    rows: np.ndarray,
    target: np.ndarray,
    fraction: float,
    seed: int,
    purpose: str,
    group: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Split `rows` into (kept, carved), both in file order: stratified by class, or by whole groups.

    Without groups each class gives round(fraction × its rows), at least one and not all where it has two; a
    target other than whole numbers (N,) counts as a single class, so that rows are drawn from all alike.
    With `group` (N,), groups in random order are taken where that brings the carved rows nearer to `fraction`
    of all. Raises UserError for a fraction outside 0..1 or fewer than two groups.
    """
    if not 0 < fraction < 1:
        raise UserError(f"the {purpose} fraction is {fraction}; a number between 0 and 1 is admissible")
    rng = numpy_stream(seed, "carve", purpose)
    if group is None:
        classes = target.ndim == 1 and target.dtype.kind in "iu"
        labels = target[rows] if classes else np.zeros(len(rows), int)
        carved: list[int] = []
        for label in np.unique(labels):
            own = rows[labels == label]
            count = min(max(1, round(fraction * len(own))), len(own) - 1)
            carved.extend(rng.permutation(own)[:count].tolist())
        chosen = np.isin(rows, carved)
        return rows[~chosen], rows[chosen]
    names, counts = np.unique(group[rows], return_counts=True)
    if len(names) < 2:
        raise UserError(
            f"{len(names)} group cannot be kept apart in train and {purpose}; at least 2 are needed"
        )
    goal, size, taken = fraction * len(rows), 0, []
    for i in rng.permutation(len(names))[:-1]:  # one group always stays
        if abs(size + counts[i] - goal) < abs(size - goal):
            size += counts[i]
            taken.append(i)
    chosen = np.isin(group[rows], names[taken or [np.argmin(counts)]])
    return rows[~chosen], rows[chosen]


def subset(name: str, option: str, wanted: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """Return the `wanted` ones of `known`, all if None; raise UserError for none, unknown or repeated."""
    if wanted is None:
        return list(known)
    for word in wanted:
        choose(option, word, known, f"dataset {name!r}")
    if not wanted or len(set(wanted)) < len(wanted):
        raise UserError(
            f"dataset {name!r}: {option} is {list(wanted)}; one or more of {', '.join(known)}, each once"
        )
    return list(wanted)


def find(name: str, root: Path | None, relative: str, what: str) -> Path:
    """Return root/relative (SWEEPER_DATA is the root's default); raise UserError saying what to put where."""
    folder = root or os.environ.get("SWEEPER_DATA")
    if not folder:
        raise UserError(
            f"dataset {name!r} needs {relative} ({what}) in a data folder; name that folder with --data-root"
            " or SWEEPER_DATA"
        )
    path = Path(folder) / relative
    if not path.exists():
        raise UserError(
            f"dataset {name!r}: {path} does not exist; put {what} there, or name another data folder with"
            " --data-root or SWEEPER_DATA"
        )
    return path


def read(name: str, path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a `.npz`, or those of a folder of `.npy`, memory-mapped; raises as `readable`."""
    with readable(name, path):
        if path.is_dir():
            return {p.stem: np.load(p, mmap_mode="r") for p in sorted(path.glob("*.npy"))}
        with path.open("rb") as file, np.load(file) as arrays:
            return {key: arrays[key] for key in sorted(arrays.files)}


@contextmanager
def readable(name: str, path: Path) -> Iterator[None]:
    """Turn what NumPy raises for a damaged or foreign file within it into a UserError that names `path`."""
    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError) as error:
        objects = "Object arrays" in str(error)
        reason = (
            "an array of Python objects; pad it to one shape, or store words as text" if objects else error
        )
        raise UserError(
            f"dataset {name!r}: {path} cannot be read ({' '.join(str(reason).split())})"
        ) from error
