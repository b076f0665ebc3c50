"""What computes a run is told: of this processor by torch, of a GPU as CUDA says it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from sweeper import ROOT
from sweeper.models.training.hardware import hardware


def test_a_processor_is_told_by_its_instruction_set_threads_and_libraries():
    found = hardware("cpu")
    assert found["capability"] == torch.backends.cpu.get_cpu_capability()
    assert found["threads"] == str(torch.get_num_threads())
    assert all(found.values())
    assert "gpu" not in found


def test_what_is_narrowed_from_outside_is_told():
    code = "from sweeper.models.training.hardware import hardware; print(hardware('cpu'))"
    env = {**os.environ, "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert "'capability': 'DEFAULT'" in done.stdout or "'capability': 'NO AVX'" in done.stdout
    assert "'limits': 'ONEDNN_MAX_CPU_ISA=SSE41'" in done.stdout


def test_a_gpu_is_told_with_its_cuda(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    found = hardware("cuda")
    assert (found["gpu"], found["cuda"]) == ("NVIDIA H200 (sm_90)", "12.8")
    assert found["capability"]
