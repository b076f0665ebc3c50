"""What computes a run; between instruction sets, libraries and GPUs its results differ in digits."""

from __future__ import annotations

import os
import re

BLAS = (r"BLAS_INFO=(\w+)", r"Math Kernel Library Version ([\w.]+)")
LIMITS = ("ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR")  # which narrow what libraries use


def hardware(device: str) -> dict[str, str]:
    """Return {what: which} of processor, instruction set of torch's kernels, threads, BLAS and oneDNN, and of a GPU."""
    import torch

    told = torch.__config__.show()
    found = {
        "cpu": str(torch.cpu.get_capabilities().get("cpu_name", "")),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "blas": " ".join(_said(pattern, told) for pattern in BLAS).strip(),
        "onednn": _said(r"MKL-DNN v([\d.]+)", told),
        "limits": " ".join(f"{name}={os.environ[name]}" for name in LIMITS if name in os.environ),
    }
    if device != "cpu":
        major, minor = torch.cuda.get_device_capability(device)
        found |= {
            "gpu": f"{torch.cuda.get_device_name(device)} (sm_{major}{minor})",
            "cuda": torch.version.cuda or torch.version.hip or "",
            "cudnn": str(torch.backends.cudnn.version() or ""),
        }
    return {what: which for what, which in found.items() if which}


def _said(pattern: str, text: str) -> str:
    """Return what a pattern's group finds, empty if nothing."""
    found = re.search(pattern, text)
    return found[1] if found else ""
