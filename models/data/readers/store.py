"""Samples read once per node: one memory-mapped array that all processes share, under a key of what decides it.

Rows are read in parts of a fixed number, each kept as soon as it is whole, so that an interrupted build goes on where
it stopped; at the end the parts are joined. Reading runs in threads: the libraries decode without holding Python's
lock, and nothing has to be sent between processes.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import sys
import tempfile
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from itertools import compress, islice
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from sweeper.models.atomic import written
from sweeper.models.data.files import flaw, inside, readable, used
from sweeper.models.data.hashes import fingerprint_files
from sweeper.models.data.readers.base import Cell, Reader, Unreadable, decoding
from sweeper.models.errors import UserError
from sweeper.models.schema.digest import closure, digest_of
from sweeper.models.schema.sources import OWN, source_of
from sweeper.models.values import TIMED, InputSpec

PART_BYTES = 2**25  # of samples that are held in memory at once
MOST_ROWS = 512  # that an interruption loses
MOST_THREADS = 16  # beyond, they wait for Python's lock

Sample = np.ndarray | str  # or why there is none
Stored = tuple[np.ndarray, np.ndarray | None, dict[int, str]]


def default_cache() -> Path:
    """Return this user's folder for derived files among the temporary ones, for when none is named."""
    return Path(tempfile.gettempdir()) / f"sweeper-{os.getuid()}"


def stored(cells: Sequence[Cell], reader: Reader, cache: Path) -> Stored:
    """Return the samples (N, …) of cells, memory-mapped and read-only, their lengths (N,), and {row: why it failed}.

    Samples shorter than the longest are filled up with 0; lengths are None where none is. A row that failed is 0.
    What was read stays in `cache`, failures too; of several processes one reads and the others wait. Raises UserError
    for impossible settings and for a folder that cannot hold the samples.
    """
    if not cells:
        return np.zeros((0, *reader.spec().shape), reader.dtype), None, {}
    name = type(reader).__name__.lower()
    final = cache / f"{name}-{key(cells, reader, cache)}.npy"
    if not final.exists():
        with _room_in(cache), FileLock(final.with_suffix(".lock")):
            if not final.exists():
                _build(cells, reader, final)
    used(final)
    with readable(f"{name} samples", final):
        told = json.loads(final.with_suffix(".json").read_text())
        lengths = None if told["lengths"] is None else np.array(told["lengths"], np.int64)
        return (
            np.load(final, mmap_mode="r"),
            lengths,
            {int(row): why for row, why in told["failures"].items()},
        )


def key(cells: Sequence[Cell], reader: Reader, cache: Path) -> str:
    """Return a hash of all that decides the samples: contents of cells and weights, options, versions and code."""
    words = [
        _contents(cells, cache),
        type(reader).__qualname__,
        options(reader),
        fingerprint_files(sorted(reader.weights()), cache),
        {name: version(name) for name in sorted({"numpy", *reader.libraries})},
        _code(type(reader)),
    ]
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:16]


def _code(reader: type[Reader]) -> str:
    """Return a hash of the code of a reader, of this module, and of the readers and strangers that they import."""
    own = {__name__, *(base.__module__ for base in reader.__mro__)}
    roots = [source_of(module, module.split(".")[0]) for module in own]
    reached = closure(source for source in roots if source)
    kept = {
        m: s for m, s in reached.items() if m in own or m.startswith(__package__) or not m.startswith(OWN)
    }
    return digest_of(kept)


def options(reader: Reader) -> dict[str, Any]:
    """Return a reader's options; where its files lie is none."""
    signatures = [inspect.signature(own.__init__) for own in type(reader).__mro__ if "__init__" in vars(own)]
    names = {p.name for s in signatures for p in s.parameters.values() if p.kind is p.KEYWORD_ONLY}
    found = {name: getattr(reader, name) for name in sorted(names)}
    return {name: value for name, value in found.items() if not isinstance(value, Path)}


def files(cell: Cell) -> list[Path]:
    """Return the files that a cell is made of: its own, and of a folder those in it; of one without, the folder."""
    paths = [path for path in cell if isinstance(path, Path)] if isinstance(cell, tuple) else []
    return [file for path in paths for file in inside(path) or [path]]


def _contents(cells: Sequence[Cell], cache: Path) -> list[Any]:
    """Return what decides the samples of all cells: texts and numbers, which files are there, what is in them."""
    plain, there, paths = hashlib.sha256(), [], []
    for cell in cells:
        own = files(cell)
        usable = [p.is_file() and os.access(p, os.R_OK) for p in own]
        plain.update(json.dumps([] if own else cell).encode() + b"\n")
        there.append(usable)
        paths += compress(own, usable)
    return [plain.hexdigest(), there, fingerprint_files(paths, cache)]


def _build(cells: Sequence[Cell], reader: Reader, final: Path) -> None:
    """Read the parts that an earlier build did not, and join all of them."""
    parts, spec = final.with_suffix(".parts"), reader.spec()
    parts.mkdir(exist_ok=True)
    step = min(MOST_ROWS, max(1, PART_BYTES // (4 * prod(spec.shape))))
    wanted = {parts / f"{start}.npy": cells[start : start + step] for start in range(0, len(cells), step)}
    left = {name: own for name, own in wanted.items() if not name.exists()}
    rest = [cell for own in left.values() for cell in own]
    threads = ThreadPoolExecutor(min(MOST_THREADS, len(os.sched_getaffinity(0))))
    try:  # filters of warnings are one process's, so they are set here and not in a thread
        with warnings.catch_warnings(action="ignore"), progress(final.stem, len(rest)) as seen:
            samples = map(seen, _samples(rest, lambda cell: _read(cell, reader, spec), threads, step))
            for name, own in left.items():
                _keep(name, list(islice(samples, len(own))), spec)
    finally:
        threads.shutdown(cancel_futures=True)
    _join(list(wanted), final)
    shutil.rmtree(parts)


def _samples(
    cells: Sequence[Cell], read: Callable[[Cell], Sample], threads: ThreadPoolExecutor, ahead: int
) -> Iterator[Sample]:
    """Yield what is read of each cell in order; up to so many more are read meanwhile."""
    waiting: deque[Future[Sample]] = deque()
    for cell in cells:
        waiting.append(threads.submit(read, cell))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _read(cell: Cell, reader: Reader, spec: InputSpec) -> Sample:
    """Return a cell's sample, or why there is none."""
    try:
        for path in cell if isinstance(cell, tuple) else ():
            if isinstance(path, Path) and (why := flaw(path)):
                raise Unreadable(f"it is {why}")
        with decoding():
            sample = np.asarray(reader.read(cell))
    except Unreadable as error:
        return str(error)
    steps = min(len(sample), spec.shape[0]) if spec.kind in TIMED and sample.ndim else spec.shape[0]
    if sample.shape != (steps, *spec.shape[1:]) or sample.dtype.kind not in "biuf":
        return f"it gives numbers of shape {sample.shape} and type {sample.dtype}; {spec.shape} is admissible"
    return sample


def _keep(name: Path, samples: list[Sample], spec: InputSpec) -> None:
    """Write a part: its samples filled up to the longest of them, before it their lengths (-1: none) and failures."""
    read = {row: sample for row, sample in enumerate(samples) if not isinstance(sample, str)}
    failures = {row: sample for row, sample in enumerate(samples) if isinstance(sample, str)}
    shape = list(spec.shape)
    if spec.kind in TIMED:
        shape[0] = max((len(sample) for sample in read.values()), default=0) or 1
    dtype = np.result_type(*{sample.dtype for sample in read.values()}) if read else np.dtype(bool)
    array, lengths = np.zeros((len(samples), *shape), dtype), [-1] * len(samples)
    for row, sample in read.items():
        array[row, : len(sample)], lengths[row] = sample, len(sample)
    with written(name.with_suffix(".json")) as path:
        path.write_text(json.dumps({"lengths": lengths, "failures": failures}))
    with written(name) as path, path.open("wb") as file:
        np.save(file, array)


def _join(names: Sequence[Path], final: Path) -> None:
    """Write all parts as one array that appears under its name only when whole, what is told of its rows before it."""
    lengths, failures, shapes, dtypes = [], {}, set(), set()
    for name in names:
        own = json.loads(name.with_suffix(".json").read_text())
        failures |= {len(lengths) + int(row): why for row, why in own["failures"].items()}
        lengths += own["lengths"]
        part = np.load(name, mmap_mode="r")
        shapes.add(part.shape[1:])
        dtypes.add(part.dtype)
    shape, dtype = np.max([*shapes], axis=0).tolist(), np.result_type(*dtypes)
    differ = any(n not in (-1, shape[0]) for n in lengths)
    told = {"lengths": [max(n, 0) for n in lengths] if differ else None, "failures": failures}
    with written(final.with_suffix(".json")) as path:
        path.write_text(json.dumps(told))
    with names[0].with_name("joined").open("wb") as file:
        head = {"descr": dtype.str, "fortran_order": False, "shape": (len(lengths), *shape)}
        np.lib.format.write_array_header_1_0(file, head)
        for name in names:
            part = np.load(name, mmap_mode="r")
            missing = [(0, 0), *((0, n - m) for n, m in zip(shape, part.shape[1:], strict=True))]
            own = np.pad(part, missing) if np.any(missing) else part
            file.write(np.ascontiguousarray(own, dtype).data)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(final)


@contextmanager
def _room_in(cache: Path) -> Iterator[None]:
    """Turn a disk that is full or cannot be written to into a UserError."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UserError(
            f"{cache} cannot hold what is read of the data ({error.strerror or error}); free room there, or name"
            " another folder"
        ) from error


@contextmanager
def progress(what: str, count: int) -> Iterator[Callable[[Any], Any]]:
    """Yield a function that returns each of `count` things and counts it; a terminal shows a bar and the time left."""
    if not sys.stderr.isatty():
        yield lambda thing: thing
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("reading {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=count)

        def seen(thing: Any) -> Any:  # noqa: ANN401 - whatever is counted
            bar.advance(task)
            return thing

        yield seen
