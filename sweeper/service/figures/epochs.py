"""A run's weights after some of its epochs; one set of them is kept, so the run is trained anew as far as that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeper import bridge
from sweeper.bridge import Order
from sweeper.ledger.records import RunRecord
from sweeper.models.errors import Left, UserError


def after(
    epochs: Sequence[int], record: RunRecord, order: Mapping[str, Any], folder: Path, cache: Path
) -> Iterator[tuple[int, Order, float]]:
    """Train a run anew in a folder, and yield (epoch, the order whose folder has its weights then, a distance).

    The distance is the largest between the curve so far and the recorded one: 0 where all is as it was. Raises
    UserError for epochs that the run did not have, and if it fails.
    """
    for epoch in epochs:
        if not 1 <= epoch <= record.epochs:
            raise UserError(f"it has no epoch {epoch}; admissible: 1 to {record.epochs}")
    quantity, curve = f"validation/{order['payload']['metric']}", list[float]()
    made = Order(
        order["payload"],
        folder,
        order["data_root"],
        cache,
        checkpoints="all",
        threads=max(1, int(order["cpus"])),
    )
    for wanted in sorted({*epochs}):
        try:
            result = bridge.execute(
                made,
                "cuda" if order["gpus"] else "cpu",
                on_epoch=lambda entry: curve.append(entry[quantity]),
                pulse=lambda wanted=wanted: len(curve) >= wanted,
            )
        except Left:  # as asked: its state is in the folder, and the next round goes on from there
            yield wanted, made, max(abs(a - b) for a, b in zip(curve, record.curve, strict=False))
        else:
            why = result.get("error", {}).get("message", f"it was {result['status']}")
            raise UserError(f"trained anew it ended before epoch {wanted} ({why})")
