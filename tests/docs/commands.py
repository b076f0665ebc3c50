"""The `sweeper …` commands that README and docs name, and which of them are only parsed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from sweeper import ROOT
from tests.docs.pages import PAGES, blocks, inline

BEGINNING = re.compile(r"(?:\.venv/bin/)?sweeper ")
PLACES = {">", ">>", "|", "&&", "2>"}  # where a shell takes over

CATALOGUE = ("methods", "datasets", "encoders", "fusions", "readers", "augmentations")
ALONE = {"status", "gc", "schema", "doctor", *CATALOGUE}  # which need no argument
# what takes a second or two on a tiny study; others have tests of their own, which start what they need
CARRIED_OUT = {"run", "plan", "status", "report", "repro", "export", "import", "gc", "schema", *CATALOGUE}

# what is only parsed: what stands in the command, and why
ONLY_PARSED = {
    r"udml_|lfm_|two_stage_|imbalance_|grid_digits|vqa_rad|clip_probe|noise_levels": "minutes of training",
    r"--data-root|own_files": "needs data that are not shipped",
    r"s3://": "needs a bucket",
    r"--from-mlflow|https?://": "needs a server",
    r"NAME --board": "needs a study that follows a published table",
    r"--watch|--follow": "ends when it is interrupted",
    r"--remove": "takes away what the others are shown with",
}


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the arguments of every command of a page; in a block one a line, or more after a backslash or in quotes."""
    for block in blocks(page):
        text = block.replace("\\\n", " ")
        lines = iter(text.split("\n"))
        for line in lines:
            if BEGINNING.match(line):
                yield _arguments(_whole(line, lines))
    for code in inline(page):
        if BEGINNING.match(code):
            yield _arguments(shlex.split(code, comments=True))


def named() -> list[tuple[str, list[str]]]:
    """Return (page, arguments) of every command that is more than a mention of its name, each once."""
    found = {
        (page.relative_to(ROOT).as_posix(), *arguments): None
        for page in PAGES
        for arguments in commands(page)
    }
    return [(page, arguments) for page, *arguments in found if len(arguments) > 1 or arguments[0] in ALONE]


def reason(arguments: list[str]) -> str | None:
    """Return why a command is only parsed, None if it is carried out."""
    if arguments[0] not in CARRIED_OUT:
        return "has tests of its own, which start what it needs"
    text = " ".join(arguments)
    return next((why for what, why in ONLY_PARSED.items() if re.search(what, text)), None)


def _whole(line: str, more: Iterator[str]) -> list[str]:
    """Return the words of a command that goes on in the next lines while a quote is open."""
    while True:
        try:
            return shlex.split(line, comments=True)
        except ValueError:
            line += f" {next(more).strip()}"


def _arguments(words: list[str]) -> list[str]:
    """Return a command's arguments, without the program and what the shell does with its output."""
    end = next((i for i, word in enumerate(words) if word in PLACES), len(words))
    return words[1:end]
