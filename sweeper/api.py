"""Studies from Python: `from sweeper import Study, run, load`. pandas, matplotlib and the like come with first use."""

from __future__ import annotations

import html
import os
import signal
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import TYPE_CHECKING, Any

from sweeper import import_path
from sweeper.ledger.history import History
from sweeper.ledger.uris import locate, named
from sweeper.models.errors import UserError, choose
from sweeper.reports import frames, ranks, report
from sweeper.study.schema import Study, dump

if TYPE_CHECKING:
    from pandas import DataFrame

    from sweeper.reports.report import Report

__all__ = ["Figure", "Figures", "Results", "Study", "load", "run"]
REFUSED, INTERRUPTED = 2, 130  # exit codes of the command line
TOLD = "sweeper: "  # how it begins what it has to say


def run(
    study: Study | Mapping[str, Any] | Path | str,
    storage: Path | str | None = None,
    data_root: Path | str | None = None,
    *,
    skip_unfit: bool = False,
) -> Results:
    """Carry out a study, or what is left of it, and return its results; progress goes to stderr.

    `study` is a Study, a mapping, a file or the name of a shipped one; `storage` and `data_root` are, unless given,
    what SWEEPER_STORAGE (or the folder `sweeps`) and SWEEPER_DATA name. It is carried out by a process of its own: this
    one keeps its signal handlers, has no Ray, and lives on whatever becomes of it. Raises UserError for what cannot be
    run, KeyboardInterrupt once an interrupted study has saved its state, and RuntimeError if the process is lost.
    """
    wanted, place = Study.of(study), str(named() if storage is None else storage)
    with tempfile.TemporaryDirectory(prefix="sweeper-") as folder:
        file = Path(folder, "study.yaml")
        file.write_text(dump(wanted))
        options = ["--storage", place]
        options += ["--data-root", str(data_root)] if data_root else []
        options += ["--skip-unfit"] if skip_unfit else []
        _command("run", str(file), *options)
    return load(wanted.study, place)


def load(study: str, storage: Path | str | None = None, *, from_mlflow: str | None = None) -> Results:
    """Return the results of a study, as far as it is, from a storage or from an MLflow server alone.

    Raises UserError if there is no such study.
    """
    if from_mlflow:
        from sweeper.tracking.connection import fetch_records

        return Results(History.of(study, fetch_records(from_mlflow, study)), lambda _: [])
    place = locate(str(named() if storage is None else storage))
    ledger = place.open_ledger()
    ledger.warn()
    return Results(History.read(study, ledger), place.curve)


class Results:
    """What a study found, read when it was loaded; in a notebook it shows itself as its table.

    `curve` gives what a run logged after every epoch, by its key.
    """

    def __init__(self, history: History, curve: Callable[[str], frames.Curve]) -> None:
        self.history, self._curve = history, curve

    @property
    def study(self) -> str:
        """The study's name."""
        return self.history.plan.study

    @property
    def complete(self) -> bool:
        """Whether every cell of the table has all its report seeds."""
        return self._report.complete

    def results(self) -> DataFrame:
        """Return a row for every run × condition × metric; `split` is validation or test.

        A run that has no metrics is there too: its `status` says why.
        """
        return frames.numbers(self.history)

    def table(
        self,
        rows: Sequence[str] = (),
        columns: Sequence[str] = (),
        metrics: Sequence[str] = (),
        format: str | None = None,
        *,
        partial: bool = False,
    ) -> DataFrame | str:
        """Return the table over the report seeds: mean, std and n as numbers, or its text in a format of `report`.

        `rows`, `columns` and `metrics` take the place of the study's own layout. `partial` shows means of incomplete
        cells too. Raises UserError for an unknown axis, metric or format.
        """
        found = report.build(
            self.history, rows=_several(rows), columns=_several(columns), metrics=_several(metrics)
        )
        if format is None:
            return frames.table(found.table(partial=partial))
        return found.text(choose("format", format, report.SUFFIXES), partial=partial)

    def selected(self) -> DataFrame:
        """Return a row for every arm: the configuration that is reported, the rule that chose it, its parameters."""
        return frames.selected(self.history)

    def searched(self) -> DataFrame:
        """Return a row for every search run: the metrics of the search on validation, and its parameters."""
        return frames.searched(self.history)

    def curves(self, stage: str = "final") -> DataFrame:
        """Return a row for every epoch and logged quantity of the runs of a stage, `final` or `search`."""
        return frames.curves(self.history, choose("stage", stage, ("final", "search")), self._curve)

    def figures(self) -> Figures:
        """Return the study's figures by name, drawn now; in a notebook they show themselves."""
        from sweeper.reports import figures

        with tempfile.TemporaryDirectory(prefix="sweeper-") as folder:
            made = figures.draw(self.history, self._report, self._curve, Path(folder))
            return Figures(
                {path.stem: Figure(path.stem, path.read_bytes()) for path in made if path.suffix == ".png"}
            )

    @cached_property
    def _report(self) -> Report:
        return report.build(self.history)

    def _repr_html_(self) -> str:
        found = ranks.beside(self._report.table(partial=True), self._report.ranking)
        return frames.markup(found, [*self._report.caption, *found.caption])

    def __repr__(self) -> str:
        return self._report.text("md", partial=True)


@dataclass(frozen=True)
class Figure:
    """A figure: its name, and the bytes of a PNG, by which a notebook shows it."""

    name: str
    png: bytes = field(repr=False)

    def _repr_png_(self) -> bytes:
        return self.png


class Figures(dict[str, Figure]):
    """Figures by name; a notebook shows all of them."""

    def _repr_html_(self) -> str:
        return "".join(
            f'<p>{html.escape(name)}</p><img src="data:image/png;base64,{b64encode(figure.png).decode()}">'
            for name, figure in self.items()
        )

    def __repr__(self) -> str:
        return f"figures: {', '.join(self)}"


def _several(names: Sequence[str]) -> Sequence[str]:
    return [names] if isinstance(names, str) else names


def _command(*arguments: str) -> None:
    """Carry out a command of the command line in a process of its own, whose stderr is passed on; raise as it ends.

    An interrupt is passed on to it, and it is waited for. If this process dies, the other ends with its next word.
    """
    command = [sys.executable, "-m", "sweeper.cli", *arguments]
    env = {**os.environ, "PYTHONPATH": import_path()}
    last = reason = ""
    with (
        tempfile.TemporaryFile("w+") as out,
        subprocess.Popen(
            command, env=env, stdin=DEVNULL, stdout=out, stderr=PIPE, text=True, start_new_session=True
        ) as process,
    ):
        while True:
            try:
                for last in process.stderr or ():
                    print(last, end="", file=sys.stderr, flush=True)
                    reason = last.removeprefix(TOLD).strip() if last.startswith(TOLD) else reason
                break
            except KeyboardInterrupt:
                process.send_signal(signal.SIGINT)
        code = process.wait()
        told = out.seek(0, os.SEEK_END) > 0  # the table: it came to its end
    if code == REFUSED:
        raise UserError(reason)
    if code == INTERRUPTED:
        raise KeyboardInterrupt(reason)
    if not told:
        raise RuntimeError(
            f"the study ended with exit code {code}: {reason or last.strip() or 'it said nothing'}"
        )
