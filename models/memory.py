"""A process's memory: garbage collection held off, freed memory given back, the most that was used, on a GPU too."""

from __future__ import annotations

import ctypes
import gc
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STATUS = Path("/proc/self/status")


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect nothing within: a large import makes no garbage, but would be searched for it again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def trim() -> None:
    """Give memory that was freed back to the system, where the C library can (glibc)."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return


def peak_mb() -> float:
    """Return the most memory that this process has used since `forget_peaks`, in MB; ever, where nobody counts anew."""
    if STATUS.exists():
        kilobytes = re.search(r"VmHWM:\s*(\d+)", STATUS.read_text())
        if kilobytes:
            return int(kilobytes[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def forget_peaks(device: str) -> None:
    """Let what `peak_mb` and `gpu_mb` count begin anew."""
    with suppress(OSError):  # Linux alone can
        Path("/proc/self/clear_refs").write_text("5")
    if device != "cpu":
        import torch

        torch.cuda.init()
        torch.cuda.reset_peak_memory_stats(device)


def gpu_mb(device: str) -> dict[str, float]:
    """Return the most memory that this process has held on a device since, and what that has in all, in MB; 0 on a CPU.

    Both are 0, too, where no GPU could be used.
    """
    held = total = 0
    if device != "cpu":
        import torch

        if torch.cuda.is_initialized():
            held = torch.cuda.max_memory_reserved(device)
            total = torch.cuda.get_device_properties(device).total_memory
    return {"gpu_memory_mb": held / 2**20, "gpu_total_mb": total / 2**20}
