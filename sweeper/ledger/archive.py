"""Archives of studies: zip files of known names with a digest of each, the same bytes for the same content.

An archive that is read comes from anybody: it is checked as a whole before anything of it is used, and nothing of it is
unpacked by the names that it gives.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper import bridge
from sweeper.models.errors import UserError, one_line

KIND, VERSION = "sweeper study", 1
ABOUT = "manifest.json"
PART = r"[^/\\\x00-\x1f\x7f.][^/\\\x00-\x1f\x7f]*"
NAMES = re.compile(
    rf"README\.md|environment\.json|study\.yaml|ledger\.jsonl|study(/{PART}){{1,4}}"
    r"|runs/[0-9a-f]{16}/(run\.json|curve\.json|best\.pt)"
)
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip file can say
INFLATION = 300  # how many times its own size an archive may unpack to
FREE_BYTES = 2**26  # that it may unpack to in any case
CHUNK = 2**20
UNREADABLE = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, KeyError, ValueError, TypeError,
)  # fmt: skip


@dataclass(frozen=True)
class Archive:
    """A checked archive: the name of its study, and what it holds."""

    study: str
    names: frozenset[str]
    file: zipfile.ZipFile

    def content(self, name: str) -> bytes:
        """Return what a member holds."""
        return self.file.read(name)

    def runs(self) -> Iterator[tuple[str, dict[str, bytes]]]:
        """Yield the runs' keys, and of each {file: content}."""
        keys = sorted({name.split("/")[1] for name in self.names if name.startswith("runs/")})
        for key in keys:
            own = [name for name in self.names if name.startswith(f"runs/{key}/")]
            yield key, {name.split("/")[2]: self.content(name) for name in own}


def write(path: Path, study: str, members: Iterable[tuple[str, bytes]]) -> None:
    """Write an archive of members (name, content), whole or not at all; raise UserError where it cannot be written."""
    try:
        _write(path, study, members)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(f"archive {str(path)!r} cannot be written ({error.strerror})") from None


def _write(path: Path, study: str, members: Iterable[tuple[str, bytes]]) -> None:
    digests: dict[str, str] = {}
    with (
        bridge.written(path) as new,
        zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as file,
    ):
        for name, content in members:
            digests[name] = hashlib.sha256(content).hexdigest()
            file.writestr(_entry(name), content)
        about = {"kind": KIND, "version": VERSION, "study": study, "files": digests}
        file.writestr(_entry(ABOUT), json.dumps(about, indent=1))


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Yield an archive, checked; raise UserError if it is damaged, or none that `write` made."""
    try:
        file = zipfile.ZipFile(path)
    except OSError as error:
        raise UserError(f"archive {path.name!r} cannot be read ({error.strerror})") from None
    except UNREADABLE:
        raise UserError(f"{path.name!r} is no archive of a study; `sweeper export` makes them") from None
    with file:
        try:
            found = _checked(file, path.stat().st_size)
        except UserError as error:
            raise UserError(f"archive {path.name!r} {error}; nothing is imported") from None
        except UNREADABLE as error:
            raise UserError(
                f"archive {path.name!r} is damaged ({one_line(error)}); nothing is imported"
            ) from None
        yield found


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
    return entry


def _checked(file: zipfile.ZipFile, size: int) -> Archive:
    """Return the archive if its members are those that its manifest tells of, each as it was."""
    entries = {entry.filename: entry for entry in file.infolist()}
    if len(entries) < len(file.infolist()):
        raise UserError("holds two files of one name")
    if sum(entry.file_size for entry in entries.values()) > max(FREE_BYTES, INFLATION * size):
        raise UserError(f"would unpack to more than {INFLATION} times its size")
    if ABOUT not in entries:
        raise UserError("is none of a study")
    about: dict[str, Any] = json.loads(file.read(ABOUT))
    if about.get("kind") != KIND:
        raise UserError("is none of a study")
    if about["version"] != VERSION:
        raise UserError(f"has format {about['version']!r}; this Sweeper reads {VERSION}")
    names = frozenset(entries) - {ABOUT}
    if foreign := sorted(name for name in names if not NAMES.fullmatch(name)):
        raise UserError(f"holds {foreign[0][:100]!r}, as no archive of a study does")
    if names != about["files"].keys() or not names >= {"study.yaml", "ledger.jsonl"}:
        raise UserError("does not hold what its manifest says")
    for name, digest in about["files"].items():
        if _digest(file, name) != digest:
            raise UserError(f"is damaged in {name!r}")
    return Archive(str(about["study"]), names, file)


def _digest(file: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    with file.open(name) as member:
        while content := member.read(CHUNK):
            digest.update(content)
    return digest.hexdigest()
