"""An archive of a study entered into a storage: what is new goes into its ledger, what is there stays."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sweeper import bridge
from sweeper.ledger import archive
from sweeper.ledger.archive import Archive
from sweeper.ledger.history import History
from sweeper.ledger.lines import parsed
from sweeper.ledger.places import placeless
from sweeper.ledger.records import Record, RunRecord
from sweeper.ledger.storage import Storage
from sweeper.models.errors import UserError
from sweeper.reports import report
from sweeper.service.exporting import PICTURES
from sweeper.study import schema, yamls
from sweeper.study.schema import Resources, Study

UNSHOWABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]"
)  # control characters but tab and newline
WITH_WEIGHTS = ("status", "metrics", "curve", "epochs", "best_epoch", "kept", "seconds", "hardware")


@dataclass(frozen=True)
class _Named:
    name: str


@dataclass(frozen=True)
class _Data(_Named):
    fingerprint: str


@dataclass(frozen=True)
class _Payload:
    dataset: _Data
    encoders: dict[str, _Named]
    augment: dict[str, list[_Named]]
    fusion: _Named | None
    method: _Named
    train: dict[str, Any]
    metric: str
    conditions: list[str]
    stage: str
    seed: int
    code: str


@dataclass(frozen=True)
class _Order:
    payload: _Payload
    key: str
    arm: str
    limits: dict[str, float]
    plugins: list[str]
    checkpoints: str


@dataclass(frozen=True)
class Arrival:
    """What an archive brings: its study, its part of a ledger, and of each run what was ordered."""

    study: Study
    history: History
    orders: Mapping[str, dict[str, Any]]

    @property
    def name(self) -> str:
        """The study's name."""
        return self.study.study


def enter(path: Path, storage: Storage) -> list[str]:
    """Enter an archive into a storage and return sentences on it; the same archive again changes nothing.

    Raises UserError, before anything is written, if the archive is damaged or foreign, or the storage's study of that
    name has gone another way.
    """
    with archive.opened(path) as found:
        try:
            arrival = _arrived(found)
        except UserError as error:
            raise UserError(f"archive {path.name!r}: {error}; nothing is imported") from None
        storage.make()
        ledger = storage.open_ledger()
        ledger.lock()
        try:
            arms = [arm.key for arm in arrival.history.plan.arms]
            keys = [record.key for record in arrival.history.records if isinstance(record, RunRecord)]
            here = ledger.of(Record, study=[arrival.name], arm=arms, key=keys)
            new = missing(here, arrival.history.records)
            _keep_runs(found, arrival, storage)
            for record in new:
                ledger.append(record)
            _keep_study(found, arrival, storage, History.read(arrival.name, ledger), latest=bool(new))
        finally:
            ledger.unlock()
    entered = {record.key for record in new if isinstance(record, RunRecord)}
    said = [f"study {arrival.name}: {len(entered)} runs entered into {storage.address(storage.root)}"]
    if stayed := len({*keys} - entered):
        said.append(f"{stayed} runs were here already and stay as they were")
    return said


def missing(here: Sequence[Record], there: Sequence[Record]) -> list[Record]:
    """Return the records of another ledger that this one lacks, in order; a run that is done here stays as it is.

    Raises UserError where both have gone on from a common state, each its own way.
    """
    known, told = _by_subject(here), _by_subject(there)
    lacking: list[Record] = []
    seen: dict[tuple[Any, ...], int] = defaultdict(int)
    for record in there:
        own = known.get(record.subject, [])
        if isinstance(record, RunRecord):
            if not any(one.done or one.started == record.started for one in own):
                lacking.append(record)
            continue
        seen[record.subject] += 1
        ours, theirs = ([_compared(one) for one in side] for side in (own, told[record.subject]))
        common = min(len(ours), len(theirs))
        if ours[:common] != theirs[:common]:
            raise UserError(
                f"the storage holds another {record.KIND} {record.subject[1]!r} than the archive: both went on, each"
                " its own way; import it into another --storage"
            )
        if seen[record.subject] > len(ours):
            lacking.append(record)
    return lacking


def _by_subject(records: Sequence[Record]) -> dict[tuple[Any, ...], list[Record]]:
    found: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for record in records:
        found[record.subject].append(record)
    return found


def _compared(record: Record) -> str:
    """Return what a record says, wherever and by whatever state of the code it was written."""
    return json.dumps(placeless({**record.raw(), "git": ""}), sort_keys=True)


def _arrived(found: Archive) -> Arrival:
    """Return what an archive brings; raise UserError if it does not go together."""
    study = schema.parse(yamls.read(_text(found, "study.yaml"), "study.yaml") or {}, "study.yaml")
    lines = found.content("ledger.jsonl").splitlines()
    records = [parsed(line)[0] for line in lines]
    if None in records:
        raise UserError(f"line {records.index(None) + 1} of its ledger is no record")
    clean = [type(record).of(_told(record.raw())) for record in records]
    history = History.of(found.study, clean)
    if study.study != found.study or len(history.concerning()) < len(clean):
        raise UserError("its parts are not of one study")
    runs = {record.key for record in clean if isinstance(record, RunRecord)}
    return Arrival(study, history, dict(_orders(found, runs)))


def _told(data: dict[str, Any]) -> dict[str, Any]:
    """Return data without places; raise UserError for what could steer the terminal that shows them."""
    if any(UNSHOWABLE.search(text) for text in _texts(data)):
        raise UserError("it holds control characters")
    return placeless(data)


def _texts(data: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict | list | tuple):
        for value in [*data.keys(), *data.values()] if isinstance(data, dict) else data:
            yield from _texts(value)


def _orders(found: Archive, runs: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (key, order) of the runs; raise UserError for one that is none, or of a run that the ledger lacks."""
    for key, files in found.runs():
        if key not in runs:
            raise UserError(f"run {key} is not in its ledger")
        try:
            json.loads(files.get("curve.json", b"[]"))
            if "run.json" in files:
                raw = json.loads(files["run.json"])
                need = Resources(**{name: raw[name] for name in Resources.model_fields if name in raw})
                _order().validate_python(raw)
                own = {field.name: raw[field.name] for field in fields(_Order)}
                order = {**own, "key": key, "package": str(raw.get("package", "")), **need.model_dump()}
                yield key, _told(order)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UserError(f"what it tells of run {key} is no order") from None


@cache
def _order() -> TypeAdapter[_Order]:
    return TypeAdapter(_Order)


def _keep_runs(found: Archive, arrival: Arrival, storage: Storage) -> None:
    """Write the runs' folders where there are none yet, with this storage's places."""
    records = arrival.history.runs
    for key, files in found.runs():
        if storage.order(key) is not None:
            continue
        places = {"folder": storage.address(storage.run(key)), "cache": storage.address(storage.cache)}
        places |= {"data_root": None, "training": None}
        with storage.lend(storage.run(key)) as folder:
            for name in files.keys() & {"curve.json", "best.pt"}:
                with bridge.written(folder / name) as new:
                    new.write_bytes(files[name])
            if "best.pt" in files and records[key].done:  # so that conditions can be added to it
                raw = records[key].raw()
                bridge.write_json(folder / "result.json", {name: raw[name] for name in WITH_WEIGHTS})
            if key in arrival.orders:
                bridge.write_json(folder / "run.json", arrival.orders[key] | places)


def _keep_study(found: Archive, arrival: Arrival, storage: Storage, now: History, *, latest: bool) -> None:
    """Write the study's file and pictures as they came, unless those here are the later, and its tables anew."""
    folder = storage.study(arrival.name)
    folder.mkdir(parents=True, exist_ok=True)
    if latest or not (folder / "study.yaml").exists():
        with bridge.written(folder / "study.yaml") as new:
            new.write_text(schema.dump(arrival.study))
        for name in sorted(found.names):
            path = folder.joinpath(*name.split("/")[1:])
            if name.startswith("study/") and path.suffix in PICTURES:
                if not path.parent.resolve().is_relative_to(storage.root.resolve()):
                    raise UserError(f"{str(path.parent)!r} leads out of the storage; take it away")
                with bridge.written(path) as new:
                    new.write_bytes(found.content(name))
    report.write(report.build(now), folder)
    storage.keep(folder)


def _text(found: Archive, name: str) -> str:
    try:
        return found.content(name).decode()
    except UnicodeDecodeError:
        raise UserError(f"its {name} is no text") from None
