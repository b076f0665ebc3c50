"""A study exported: all that another machine needs to read, check and go on with it, and nothing of who made it."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import yaml

from sweeper.ledger import archive
from sweeper.ledger.history import History
from sweeper.ledger.places import placeless
from sweeper.ledger.provenance import package
from sweeper.ledger.records import Record, RunRecord
from sweeper.ledger.storage import Storage
from sweeper.models.errors import UserError
from sweeper.study import yamls

OF_ONE_MACHINE = ("folder", "data_root", "cache", "training")  # of an order: they are another's elsewhere
TEXT = (".md", ".tex", ".csv", ".html", ".txt", ".json", ".bib", ".svg")
PICTURES = (".png", ".pdf")
README = """# Study {study}

Exported by Sweeper {package}. `sweeper import FILE` enters it into a storage; `report`, `status`, `plan` and `repro`
then work there, and `run` takes what is done as done.

* `study.yaml`: the study, every default written out
* `ledger.jsonl`: every record of its runs, a line of JSON each
* `study/`: its tables and figures
* `runs/KEY/`: of each run what was ordered, its curve by epoch, and its weights if they were asked for
* `environment.json`: versions of what is installed, and what computed the runs
"""


def export(study: str, storage: Storage, path: Path, data_root: Path | None, *, weights: bool) -> list[str]:
    """Write the archive of a study and return sentences on it; raise UserError if the ledger holds no such study."""
    history = History.read(study, storage.open_ledger())
    records = History.of(
        study, history.concerning()
    ).concerning()  # what no record of its own names is left out
    runs = dict.fromkeys(record.key for record in records if isinstance(record, RunRecord))
    orders = {key: storage.order(key) or {} for key in runs}
    roots = _roots(orders.values(), data_root)
    text = storage.content(storage.study(study) / "study.yaml")
    if text is None:
        raise UserError(f"study {study!r} has no study.yaml in {storage.address(storage.study(study))}")
    told = yamls.read(text.decode(errors="replace"), "study.yaml")

    def members() -> Iterator[tuple[str, bytes]]:
        yield "README.md", README.format(study=study, package=package()).encode()
        yield "environment.json", _json(_environment(records), indent=1)
        yield "study.yaml", yaml.safe_dump(placeless(told, roots), sort_keys=False).encode()
        yield "ledger.jsonl", b"".join(_json(_anonymous(record, roots)) + b"\n" for record in records)
        yield from _shown(study, storage, roots)
        for key, order in orders.items():
            yield from _of_run(key, order, storage, roots, weights=weights)

    archive.write(path, study, members())
    done = sum(record.done for record in history.runs.values() if record.key in runs)
    size = path.stat().st_size / 2**20
    said = [f"study {study}: {done} finished runs in {path} ({size:.1f} MB)"]
    lacking = sum(not order for order in orders.values())
    if lacking:
        said.append(
            f"{lacking} runs have no run.json in the storage any more; they cannot be repeated from it"
        )
    return said


def _anonymous(record: Record, roots: Sequence[Path]) -> dict[str, Any]:
    return placeless(record.raw() | ({"host": ""} if isinstance(record, RunRecord) else {}), roots)


def _roots(orders: Sequence[dict[str, Any]], data_root: Path | None) -> list[Path]:
    """Return the folders of data and models, below which a path means the same elsewhere."""
    told = {order.get("data_root") for order in orders} | {data_root, os.environ.get("SWEEPER_MODELS")}
    return sorted((Path(root).absolute() for root in told if root), key=lambda root: -len(root.parts))


def _environment(records: Sequence[Record]) -> dict[str, Any]:
    """Return what is installed here, and what computed the runs."""
    runs = [record for record in records if isinstance(record, RunRecord)]
    computed = Counter(_json(run.hardware) for run in runs if run.hardware)
    installed = {dist.name: dist.version for dist in distributions() if dist.name}
    return {
        "sweeper": package(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions of the runs": sorted({run.versions for run in runs}),
        "hardware of the runs": [{**json.loads(one), "runs": n} for one, n in sorted(computed.items())],
        "installed": dict(sorted(installed.items(), key=lambda one: one[0].lower())),
    }


def _shown(study: str, storage: Storage, roots: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield the study's tables, figures and other reports."""
    folder = storage.study(study)
    for path in storage.files(folder):
        name = f"study/{path.relative_to(folder).as_posix()}"
        content = None if path.is_symlink() else storage.content(path)
        if content is None or path.name == "study.yaml" or not archive.NAMES.fullmatch(name):
            continue
        if path.suffix in PICTURES:
            yield name, content
        elif path.suffix in TEXT:
            yield name, placeless("\n" + content.decode(errors="replace"), roots)[1:].encode()


def _of_run(
    key: str, order: dict[str, Any], storage: Storage, roots: Sequence[Path], *, weights: bool
) -> Iterator[tuple[str, bytes]]:
    folder = storage.run(key)
    if order:
        own = {name: value for name, value in order.items() if name not in OF_ONE_MACHINE}
        yield f"runs/{key}/run.json", _json(placeless(own, roots))
    for name in ("curve.json", "best.pt") if weights else ("curve.json",):
        content = storage.content(folder / name)
        if content is not None:
            yield f"runs/{key}/{name}", content


def _json(value: object, **options: Any) -> bytes:  # noqa: ANN401 - those of json.dumps
    return json.dumps(value, **options).encode()
