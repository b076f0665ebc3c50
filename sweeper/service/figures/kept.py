"""What figures of a finished study are drawn from: the final runs of each arm, and what they left in the storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from sweeper.ledger.history import History
from sweeper.ledger.records import ArmPlan, RunRecord
from sweeper.ledger.storage import Storage
from sweeper.models.errors import UserError
from sweeper.study.arms import short_names

T = TypeVar("T")
Made = dict[str, dict[str, T]]  # by dataset, then by what tells its arms apart


def each_arm(
    history: History, make: Callable[[ArmPlan, Mapping[int, RunRecord]], T]
) -> tuple[Made[T], list[str]]:
    """Return what `make` makes of each arm and its finished final runs by seed, and a sentence for each left out.

    An arm is left out if it has no such run, or if `make` raises UserError. Raises UserError if that is so of all.
    """
    made: dict[str, list[tuple[Mapping[str, str], T]]] = {}
    left_out: list[str] = []
    for arm in history.plan.arms:
        try:
            final = history.final(arm.key)
            if not final:
                raise UserError("it has no finished run")
            one = ({**arm.axes, "dataset": ""}, make(arm, final))
            made.setdefault(arm.axes["dataset"], []).append(one)
        except UserError as error:
            left_out.append(f"{history.names[arm.key]}: {error}")
    if not made:
        raise UserError(f"study {history.plan.study!r} has no arm to draw; {left_out[0]}")
    named = {
        dataset: dict(zip(short_names([axes for axes, _ in own]), (one for _, one in own), strict=True))
        for dataset, own in made.items()
    }
    return named, [f"left out: {why}" for why in left_out]


def order_of(record: RunRecord, storage: Storage, data_root: Path | None) -> dict[str, Any]:
    """Return what was ordered for a run, with the folder of its data; raise UserError if that is not there."""
    order = storage.order(record.key)
    if order is None:
        raise UserError(f"run {record.key} has no run.json; only its record is left")
    root = order["data_root"]
    return order | {"data_root": data_root or (Path(root) if root else None)}
