"""W ranks with B/W rows each give the same weights as one rank with B, uneven last batches included."""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing

from sweeper.models.schema.entries import entries
from sweeper.models.training.conditions import under
from sweeper.models.training.evaluation import all_scores, evaluate
from sweeper.models.training.trainer import splits_of
from tests.models.cases import CASES, SETTINGS, VARIANTS, Case, build, fit, synthetic

# 95 training rows in batches of 31: parts of 16 and 15, and a last batch of 2; with 94 rows it is 1, fewer than ranks
ROWS = (95, 94)
EVERY = CASES + VARIANTS
CLIPPED = dataclasses.replace(SETTINGS, batch_size=31, clip=0.5)


def outcome(case: Case, rows: int) -> dict[str, object]:
    data = synthetic(3, train=rows, validation=63, missing=0.2)
    fusion = "concat" if entries("method")[case.method].facts.get("fuses", True) else None
    method = build(case.named, data, fusion=fusion, dtype=torch.float64)
    curve = fit(method, data, CLIPPED).curve
    scores = all_scores(method.task, evaluate(method, splits_of(data, method, 0).validation))
    noisy, _ = under(method, data, data.rows["test"], "feature-5")
    return {"state": method.state_dict(), "scores": scores, "noisy": noisy, "curve": curve}


def one_rank(rank: int, port: int, path: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    found = {(i, rows): outcome(case, rows) for i, case in enumerate(EVERY) for rows in ROWS}
    torch.save(found, path / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    path = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(one_rank, (port, path), nprocs=2)
    return [torch.load(path / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("number", range(len(EVERY)), ids=[f"{c.method}{i}" for i, c in enumerate(EVERY)])
def test_two_ranks_equal_one(two_ranks, number, rows):
    alone = outcome(EVERY[number], rows)
    for rank in (0, 1):
        found = two_ranks[rank][number, rows]
        for name, value in alone["state"].items():
            assert torch.allclose(found["state"][name], value, rtol=1e-5, atol=1e-5), name
        for scores in ("scores", "noisy"):
            assert found[scores] == pytest.approx(alone[scores], rel=1e-5, abs=1e-5)
        for there, here in zip(found["curve"], alone["curve"], strict=True):
            validation = {
                k: v for k, v in here.items() if k.startswith(("validation/", "loss/")) or k == "alpha"
            }
            assert {k: there[k] for k in validation} == pytest.approx(validation, rel=1e-5, abs=1e-5)


def test_ranks_agree_to_the_bit(two_ranks):
    for key, found in two_ranks[0].items():
        for name, value in found["state"].items():
            assert torch.equal(value, two_ranks[1][key]["state"][name]), (key, name)
