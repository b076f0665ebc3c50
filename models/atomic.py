"""Files that are written whole or not at all: a reader finds the old one or the new one, never half of one."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL_BYTES = 2**20  # what a disk must have left to count as one that is not full


def raise_if_full(folder: Path, error: Exception) -> None:
    """Raise OSError (ENOSPC) where the disk of a folder, there or not, is full, or an error says that one is."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    told = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if told or shutil.disk_usage(there).free < FULL_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; the file written there takes the place of `path` if all went well.

    Raise OSError (ENOSPC) for whatever is raised on a full disk: torch and others do not say that it was that.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)  # a link that lies there is not followed
    try:
        yield temporary
        temporary.replace(path)
    except Exception as error:
        raise_if_full(path.parent, error)
        raise
    finally:
        temporary.unlink(missing_ok=True)
