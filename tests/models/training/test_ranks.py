"""W ranks with B/W rows each give the same weights as one rank with B, uneven last batches included."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import nn

from sweeper.models import parallel
from sweeper.models.data.augment.base import Augmenter
from sweeper.models.data.dataset import Dataset
from sweeper.models.method import Method
from sweeper.models.schema.entries import entries
from sweeper.models.training import buckets
from sweeper.models.training.conditions import under
from sweeper.models.training.evaluation import all_scores, evaluate
from sweeper.models.training.settings import Settings
from sweeper.models.training.splits import splits_of
from tests.models.cases import CASES, SETTINGS, VARIANTS, Case, build, fit, of_all_lengths, synthetic
from tests.models.ranks import on_two_ranks
from tests.models.toys import Normed, Recorded, method_on
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


class Experts(Recorded):
    """Has a head for each class, used where rows of it come, in the order in which they come: by ranks unlike."""

    def __init__(self, net, task):
        super().__init__(net, task)
        self.experts = nn.ModuleList(nn.Linear(sum(net.dims.values()), 1) for _ in range(task.n_outputs))

    def features(self, output):
        return torch.cat(list(output.pooled.values()), 1)

    def loss(self, output, batch, ctx):
        z, told = self.features(output), 0.0
        for c in dict.fromkeys(batch.target.tolist()):
            told = told + (self.experts[c](z[batch.target == c]) - c).square().sum()
        return {"task": super().loss(output, batch, ctx), "told": 0.1 * told / len(batch)}


class Crossed(Experts):
    """Its backward pass sends a message of its own, on one rank before a head's gradient and on the other after."""

    def features(self, output):
        z = super().features(output)
        return z - parallel.gather(z).mean(0)


class OfOwnRows(Recorded):
    """Breaks the contract: weighs the loss by what it sees of a rank's own rows alone."""

    def loss(self, output, batch, ctx):
        return super().loss(output, batch, ctx) * output.fused.detach().std()


class Unheard(Recorded):
    """Breaks the contract: remembers a rank's own rows alone."""

    def __init__(self, net, task):
        super().__init__(net, task)
        self.register_buffer("seen_rows", torch.zeros(net.spec.rows))

    def loss(self, output, batch, ctx):
        self.seen_rows[batch.index] += 1
        return super().loss(output, batch, ctx)


@dataclass(frozen=True)
class Job:
    """A method, named by a study or a toy, trained on a dataset under settings; `bucket` bytes are sent at once."""

    method: Case | type[Method]
    data: Callable[..., Dataset] = THREE
    rows: int = ROWS[0]
    settings: Settings = CLIPPED
    augmented: bool = False
    noisy: bool = False
    bucket: int = 1000
    net: dict[str, Any] = field(default_factory=dict)

    def made(self, data: Dataset) -> Method:
        if not isinstance(self.method, Case):
            return method_on(self.method, data, **self.net)
        return build(self.method.named, data, fusion=self.method.fuses_by, dtype=torch.float64)

    def outcome(self) -> dict[str, object]:
        data = self.data(train=self.rows, validation=63, missing=0.2)
        method = self.made(data)
        augmenter = Augmenter({"m0": [Shift()]}, data.spec.rows, 0) if self.augmented else None
        with patch.multiple(buckets, FIRST_BYTES=self.bucket, BYTES=self.bucket):
            curve = fit(method, data, self.settings, augmenter=augmenter).curve
        scores = all_scores(method.task, evaluate(method, splits_of(data, method, 0).validation))
        noisy = under(method, data, data.rows["test"], "feature-5")[0] if self.noisy else {}
        return {"state": method.state_dict(), "scores": scores, "noisy": noisy, "curve": curve}


IN_PARTS = dataclasses.replace(CLIPPED, accumulate=3)
# first, so that nothing has been sent when a bucket is to be sent amid a backward pass
JOBS = {"first": Job(Crossed, settings=dataclasses.replace(CLIPPED, batch_size=4), bucket=1)}
JOBS |= {
    f"{c.method}{i}-{n}": Job(c, rows=n, noisy=n == ROWS[0])
    for i, c in enumerate(CASES + VARIANTS)
    for n in ROWS
}
JOBS |= {f"{c.method}-lengths": Job(c, of_all_lengths) for c in CASES}
TOYS = (
    Twice,
    Weighed,
    Losses,
    Combining,
    WithoutConflict,
    LeastNorm,
    Rated,
    Turns,
    Gathered,
    Experts,
    Crossed,
)
JOBS |= {f"{cls.__name__}-{ROWS[0]}": Job(cls) for cls in TOYS}
JOBS |= {f"{cls.__name__}-{ROWS[1]}": Job(cls, rows=ROWS[1]) for cls in (Twice, Combining, Gathered)}
# of the last batch, of 3 rows, one rank has 2 and the other 1, fewer than the parts
IN_TURN = (Recorded, Weighed, Turns, Gathered, Experts)
JOBS |= {f"parts-{cls.__name__}": Job(cls, rows=96, settings=IN_PARTS) for cls in IN_TURN}
# the rows of a part are the same on any number of ranks, so what is drawn for them and contrasted in it is, too
JOBS |= {
    f"parts-{c.method}": Job(c, rows=100, settings=IN_PARTS)
    for c in CASES
    if c.method in ("cl_dmdf", "qmf", "udml")
}
JOBS |= {"augmented": Job(Recorded, augmented=True)}
JOBS |= {f"whole-{cls.__name__}": Job(cls, bucket=buckets.BYTES) for cls in (Recorded, Experts, Crossed)}
# buckets of one parameter each
JOBS |= {f"apart-{cls.__name__}": Job(cls, bucket=1) for cls in (Recorded, Experts, Crossed)}
# batch norm: where it is synchronised, even of a single row on each rank
normed = partial(Job, Recorded, net={"encoder": Normed, "dropout": 0.0})
SYNCHRONISED = dataclasses.replace(CLIPPED, batch_norm="synchronised")
JOBS |= {f"synchronised-{n}": normed(rows=n, settings=SYNCHRONISED) for n in (93, 95)}
# what is not as on one rank
UNLIKE = {"local-93": normed(rows=93)} | {cls.__name__: Job(cls) for cls in (OfOwnRows, Unheard)}


pytestmark = pytest.mark.xdist_group("ranks")  # which share what two processes find


def outcomes() -> dict[str, dict[str, object]]:
    return {name: job.outcome() for name, job in (JOBS | UNLIKE).items()}


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    return on_two_ranks(outcomes, tmp_path_factory.mktemp("ranks"))


def check_equal(found, alone):
    for own, value in alone["state"].items():
        assert torch.allclose(found["state"][own], value, rtol=1e-5, atol=1e-5), f"state: {own}"
    for scores in ("scores", "noisy"):
        assert found[scores] == pytest.approx(alone[scores], rel=1e-5, abs=1e-5), scores
    for there, here in zip(found["curve"], alone["curve"], strict=True):
        told = {k: v for k, v in here.items() if k.startswith(("validation/", "loss/")) or k == "alpha"}
        assert {k: there[k] for k in told} == pytest.approx(told, rel=1e-5, abs=1e-5), "curve"


@pytest.mark.parametrize("name", JOBS)
def test_two_ranks_equal_one(two_ranks, name):
    alone = JOBS[name].outcome()
    for rank in (0, 1):
        check_equal(two_ranks[rank][name], alone)


def test_every_method_is_among_them_on_vectors_and_on_rows_of_all_lengths():
    for data in (THREE, of_all_lengths):
        found = {
            job.method.method for job in JOBS.values() if job.data is data and isinstance(job.method, Case)
        }
        assert found == set(entries("method"))


@pytest.mark.parametrize("name", UNLIKE)
def test_what_sees_its_own_rows_alone_is_found_out(two_ranks, name):
    with pytest.raises(AssertionError):
        check_equal(two_ranks[0][name], UNLIKE[name].outcome())


def test_ranks_agree_to_the_bit(two_ranks):
    for name in JOBS:
        found = two_ranks[0][name]
        for own, value in found["state"].items():
            assert torch.equal(value, two_ranks[1][name]["state"][own]), (name, own)
