"""Figures that are drawn when they are asked for: `sweeper gradcam`, `features`, `confusion`, …"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.commands.base import Command, data_root, readable
from sweeper.models.errors import UserError

if TYPE_CHECKING:
    from sweeper.ledger.history import History
    from sweeper.ledger.storage import Storage


def _arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", help="the study's name")
    command.add_argument("--modality", help="which of its images; the first one if not said")
    command.add_argument(
        "--rows", nargs="+", type=int, default=list(range(6)), metavar="N", help="of the test split"
    )
    command.add_argument(
        "--epochs", nargs="+", type=int, default=[], metavar="N", help="also after these, trained anew so far"
    )
    command.add_argument("--data-root", metavar="DIR")


def _gradcam(options: argparse.Namespace) -> int:
    from sweeper.service.figures import gradcam

    (history, storage), root = _finished(options), data_root(options.data_root)
    images = gradcam.images_of(history, storage, root)
    modality = gradcam.chosen(options.modality, images, options.study)
    return _told(storage, *gradcam.draw(history, storage, root, modality, options.rows, options.epochs))


def _of_study(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", help="the study's name")


def _of_features(command: argparse.ArgumentParser) -> None:
    _of_study(command)
    command.add_argument("--data-root", metavar="DIR")


def _features(options: argparse.Namespace) -> int:
    from sweeper.service.figures import features

    history, storage = _finished(options)
    return _told(storage, *features.draw(history, storage, data_root(options.data_root)))


def _of_confusion(command: argparse.ArgumentParser) -> None:
    _of_study(command)
    command.add_argument("--condition", default="clean", help="what the test rows are under")
    command.add_argument(
        "--certain", type=float, metavar="U", help="beside it, rows with an uncertainty of at most U"
    )


def _confusion(options: argparse.Namespace) -> int:
    from sweeper.service.figures import predicted

    history, storage = _finished(options)
    return _told(storage, *predicted.confusion(history, storage, options.condition, options.certain))


def _uncertainty(options: argparse.Namespace) -> int:
    from sweeper.service.figures import predicted

    history, storage = _finished(options)
    return _told(storage, *predicted.uncertainty(history, storage))


def _finished(options: argparse.Namespace) -> tuple[History, Storage]:
    """Return the history of the named study and its storage."""
    from sweeper.ledger.history import History
    from sweeper.ledger.uris import locate

    storage = locate(options.storage)
    return History.read(options.study, readable(storage)), storage


def _told(storage: Storage, made: Sequence[Path], said: Sequence[str]) -> int:
    """Print the files that are drawn, and what is to be said of them."""
    print("\n".join([*(storage.address(path) for path in made), *said]))
    return 0


def _search(options: argparse.Namespace) -> int:
    from sweeper.reports.searches import FILE, Searches

    history, storage = _finished(options)
    found, folder = Searches(storage.root / FILE), storage.study(options.study) / "search"
    found.enter(history)
    found.write()
    files = found.plot(history, folder)
    if not files:
        raise UserError(
            f"no arm of study {options.study!r} has two finished configurations that differ; nothing is drawn"
        )
    storage.keep(folder)
    print(*(storage.address(path) for path in files), sep="\n")
    print(f"optuna-dashboard sqlite:///{shlex.quote(str(found.file))}  # the same to explore")
    return 0


COMMANDS = {
    "gradcam": Command("draw where in its images each net of a study looks (Grad-CAM)", _arguments, _gradcam),
    "features": Command(
        "draw how each net of a study lays out rows, by modality and fused", _of_features, _features
    ),
    "confusion": Command("draw the confusion matrix of each net of a study", _of_confusion, _confusion),
    "uncertainty": Command("draw how uncertain each net of a study is under noise", _of_study, _uncertainty),
    "search": Command("draw Optuna's plots of a study's search", _of_study, _search),
}
