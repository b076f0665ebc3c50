"""`sweeper gradcam` and `sweeper search`: figures that are drawn when they are asked for."""

from __future__ import annotations

import argparse
import shlex

from sweeper.commands.base import Command, data_root, readable
from sweeper.models.errors import UserError


def _arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", help="the study's name")
    command.add_argument("--modality", help="which of its images; the first one if not said")
    command.add_argument(
        "--rows", nargs="+", type=int, default=list(range(6)), metavar="N", help="of the test split"
    )
    command.add_argument("--data-root", metavar="DIR")


def _gradcam(options: argparse.Namespace) -> int:
    from sweeper.ledger.history import History
    from sweeper.ledger.uris import locate
    from sweeper.service import gradcam

    storage, root = locate(options.storage), data_root(options.data_root)
    history = History.read(options.study, readable(storage))
    images = gradcam.images_of(history, storage, root)
    modality = gradcam.chosen(options.modality, images, options.study)
    made, left_out = gradcam.draw(history, storage, root, modality, options.rows)
    print("\n".join([*(storage.address(path) for path in made), *(f"left out: {why}" for why in left_out)]))
    return 0


def _of_search(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", help="the study's name")


def _search(options: argparse.Namespace) -> int:
    from sweeper.ledger.history import History
    from sweeper.ledger.uris import locate
    from sweeper.reports.searches import FILE, Searches

    storage = locate(options.storage)
    history = History.read(options.study, readable(storage))
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
    "search": Command("draw Optuna's plots of a study's search", _of_search, _search),
}
