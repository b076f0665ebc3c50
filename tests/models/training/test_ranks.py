"""W ranks with B/W rows each give the same weights as one rank with B, uneven last batches included."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing

from sweeper.models import parallel
from sweeper.models.data.augment.base import Augmenter
from sweeper.models.data.dataset import Dataset
from sweeper.models.method import Method
from sweeper.models.schema.entries import entries
from sweeper.models.training.conditions import under
from sweeper.models.training.evaluation import all_scores, evaluate
from sweeper.models.training.settings import Settings
from sweeper.models.training.splits import splits_of
from tests.models.cases import CASES, SETTINGS, VARIANTS, Case, build, fit, of_all_lengths, synthetic
from tests.models.toys import Recorded, method_on
from tests.models.training.test_hooks import Shift, Twice
from tests.models.training.test_settings import Rated
from tests.models.training.test_steps import Combining, LeastNorm, Losses, Turns, Weighed, WithoutConflict

# 95 training rows in batches of 31: parts of 16 and 15, and a last batch of 2; with 94 rows it is 1, fewer than ranks
ROWS = (95, 94)
CLIPPED = dataclasses.replace(SETTINGS, batch_size=31, clip=0.5)
THREE = partial(synthetic, 3)


class Gathered(Recorded):
    """Keeps every row's features in a bank that is the same on all ranks, and learns to stay near them."""

    def __init__(self, net, task):
        super().__init__(net, task)
        self.register_buffer("bank", torch.zeros(net.spec.rows, sum(net.dims.values())))

    def loss(self, output, batch, ctx):
        z = torch.cat(list(output.pooled.values()), 1)
        near = (z - self.bank[batch.index]).square().mean()
        self.bank[parallel.gather(batch.index)] = parallel.gather(z.detach())
        return {"task": super().loss(output, batch, ctx), "near": 0.1 * near}


@dataclass(frozen=True)
class Job:
    """A method, named by a study or a toy, trained on a dataset under settings."""

    method: Case | type[Method]
    data: Callable[..., Dataset] = THREE
    rows: int = ROWS[0]
    settings: Settings = CLIPPED
    augmented: bool = False
    noisy: bool = False

    def made(self, data: Dataset) -> Method:
        if not isinstance(self.method, Case):
            return method_on(self.method, data)
        fusion = "concat" if entries("method")[self.method.method].facts["fuses"] else None
        return build(self.method.named, data, fusion=fusion, dtype=torch.float64)

    def outcome(self) -> dict[str, object]:
        data = self.data(train=self.rows, validation=63, missing=0.2)
        method = self.made(data)
        augmenter = Augmenter({"m0": [Shift()]}, data.spec.rows, 0) if self.augmented else None
        curve = fit(method, data, self.settings, augmenter=augmenter).curve
        scores = all_scores(method.task, evaluate(method, splits_of(data, method, 0).validation))
        noisy = under(method, data, data.rows["test"], "feature-5")[0] if self.noisy else {}
        return {"state": method.state_dict(), "scores": scores, "noisy": noisy, "curve": curve}


IN_PARTS = dataclasses.replace(CLIPPED, accumulate=3)
JOBS = {
    f"{c.method}{i}-{n}": Job(c, rows=n, noisy=n == ROWS[0])
    for i, c in enumerate(CASES + VARIANTS)
    for n in ROWS
}
JOBS |= {f"{c.method}-lengths": Job(c, of_all_lengths) for c in CASES}
TOYS = (Twice, Weighed, Losses, Combining, WithoutConflict, LeastNorm, Rated, Turns, Gathered)
JOBS |= {f"{cls.__name__}-{ROWS[0]}": Job(cls) for cls in TOYS}
JOBS |= {f"{cls.__name__}-{ROWS[1]}": Job(cls, rows=ROWS[1]) for cls in (Twice, Combining, Gathered)}
# of the last batch, of 3 rows, one rank has 2 and the other 1, fewer than the parts
IN_TURN = (Recorded, Weighed, Turns, Gathered)
JOBS |= {f"parts-{cls.__name__}": Job(cls, rows=96, settings=IN_PARTS) for cls in IN_TURN}
# the rows of a part are the same on any number of ranks, so what is drawn for them and contrasted in it is, too
JOBS |= {
    f"parts-{c.method}": Job(c, rows=100, settings=IN_PARTS) for c in CASES if c.method in ("cl_dmdf", "udml")
}
JOBS |= {"augmented": Job(Recorded, augmented=True)}


def one_rank(rank: int, port: int, path: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.save({name: job.outcome() for name, job in JOBS.items()}, path / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    path = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(one_rank, (port, path), nprocs=2)
    return [torch.load(path / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


@pytest.mark.parametrize("name", JOBS)
def test_two_ranks_equal_one(two_ranks, name):
    alone = JOBS[name].outcome()
    for rank in (0, 1):
        found = two_ranks[rank][name]
        for own, value in alone["state"].items():
            assert torch.allclose(found["state"][own], value, rtol=1e-5, atol=1e-5), own
        for scores in ("scores", "noisy"):
            assert found[scores] == pytest.approx(alone[scores], rel=1e-5, abs=1e-5)
        for there, here in zip(found["curve"], alone["curve"], strict=True):
            validation = {
                k: v for k, v in here.items() if k.startswith(("validation/", "loss/")) or k == "alpha"
            }
            assert {k: there[k] for k in validation} == pytest.approx(validation, rel=1e-5, abs=1e-5)


def test_ranks_agree_to_the_bit(two_ranks):
    for name, found in two_ranks[0].items():
        for own, value in found["state"].items():
            assert torch.equal(value, two_ranks[1][name]["state"][own]), (name, own)
