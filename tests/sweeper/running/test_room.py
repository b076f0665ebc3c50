"""How many runs fit on a cluster, what is asked of its autoscaler, and how large a part of a GPU a run gets."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray
import yaml

from sweeper.models.errors import UserError
from sweeper.running import room
from sweeper.running.packing import part
from sweeper.study.schema import Resources

GPU = Resources(gpus=1)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Pretend that the cluster has these nodes, and may grow by those of a file of `ray up`."""
    there: list[dict[str, float]] = []
    alive = lambda: [{"Alive": True, "NodeID": str(i), "Resources": own} for i, own in enumerate(there)]  # noqa: E731
    monkeypatch.setattr(ray, "nodes", alive)
    monkeypatch.setattr(room, "draining", set)
    monkeypatch.setattr(room, "LOOK_SECONDS", -1.0)
    monkeypatch.setenv("SWEEPER_AUTOSCALING", str(tmp_path / "config.yaml"))
    return there


@pytest.fixture
def growing(tmp_path: Path, nodes, monkeypatch: pytest.MonkeyPatch):
    """A head without GPU that may start three nodes with two GPUs each; what the autoscaler is asked for."""
    types = {"head": {"resources": {"CPU": 2}}, "gpu": {"resources": {"CPU": 8, "GPU": 2}, "max_workers": 3}}
    config = {"max_workers": 5, "head_node_type": "head", "available_node_types": types}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    nodes.append({"CPU": 2.0})
    asked: list[list[dict[str, float]]] = []
    monkeypatch.setattr(room, "request_resources", lambda bundles: asked.append(bundles))
    return asked


@pytest.mark.parametrize(
    ("need", "runs"),
    [
        (Resources(), 8),
        (Resources(cpus=0.5), 16),
        (Resources(cpus=3), 2),
        (Resources(gpus=0.25), 8),
        (Resources(gpus=0.4), 4),  # two on each GPU: none lies on both
        (Resources(gpus=1), 2),
        (Resources(cpus=0.1, workers=2, gpus=1), 1),
        (Resources(workers=3), 2),
    ],
)
def test_as_many_runs_at_once_as_fit(need, runs):
    assert room.fits(need, [{"CPU": 8.0, "GPU": 2.0}]) == runs


def test_a_worker_lies_on_one_node():
    assert room.fits(Resources(cpus=2), [{"CPU": 3.0}, {"CPU": 3.0}]) == 2
    assert room.fits(Resources(cpus=2, workers=2), [{"CPU": 3.0}, {"CPU": 3.0}]) == 1
    assert room.fits(Resources(), []) == 0


def test_a_run_that_never_fits_is_refused(nodes):
    nodes.append({"CPU": 8.0})
    with pytest.raises(
        UserError, match=r"needs 2 × \(5 CPU, 0 GPU\), but the cluster has 8 CPU and 0 GPU; lower"
    ):
        room.check(Resources(cpus=5, workers=2))
    with pytest.raises(UserError, match=r"the cluster has 8 CPU and 0 GPU"):
        room.check(Resources(gpus=0.5))
    nodes.append({"CPU": 8.0, "GPU": 4.0})
    room.check(Resources(gpus=0.5))
    with pytest.raises(ValueError, match="whole GPUs"):
        Resources(gpus=0.5, workers=2)


def test_a_cluster_that_can_grow_is_no_reason_to_refuse(growing):
    room.check(GPU)
    room.check(Resources(gpus=2, workers=3))
    with pytest.raises(UserError, match="has 2 CPU and 0 GPU and cannot grow so far"):
        room.check(Resources(gpus=4))


def test_runs_are_handed_out_as_the_cluster_grows_and_shrinks(nodes):
    nodes.append({"CPU": 2.0})
    found = room.Room()
    assert found.has(Resources(), [Resources()])
    assert not found.has(Resources(), [Resources(), Resources()])
    nodes.append({"CPU": 1.0})
    assert found.has(Resources(), [Resources(), Resources()])
    nodes.clear()
    assert not found.has(Resources(), [])


def test_runs_of_several_sizes_share_the_cluster(nodes):
    nodes.append({"CPU": 8.0, "GPU": 1.0})
    found = room.Room()
    small, half = Resources(cpus=0.1, gpus=0.25), Resources(cpus=0.1, gpus=0.5)
    assert found.has(small, [half, small])
    assert not found.has(half, [half, small])
    assert not found.has(GPU, [small])


def test_the_autoscaler_is_asked_for_what_the_runs_need(growing):
    found = room.Room()
    assert found.grows
    assert found.beyond(GPU) == 6
    found.ask([GPU, GPU])
    found.ask([Resources(gpus=1, workers=2)])  # the same to it
    found.ask([GPU])
    found.ask([])
    bundle = {"CPU": 1.0, "GPU": 1.0}
    assert growing == [[bundle] * 2, [bundle], []]


def test_a_cluster_without_an_autoscaler_does_not_grow(nodes):
    found = room.Room()
    assert not found.grows
    assert found.beyond(GPU) == 0


@pytest.mark.parametrize(
    ("most", "used", "found"),
    [
        (1.0, 4_000.0, 0.25),  # a fifth more than a fifth of 20 GB, in twentieths
        (1.0, 10.0, 0.05),
        (0.5, 19_000.0, 0.5),  # never more than the study says
        (1.0, 0.0, 1.0),  # nothing measured
        (2.0, 4_000.0, 2.0),  # whole GPUs are not shared
        (0.0, 4_000.0, 0.0),
    ],
)
def test_a_run_gets_the_part_of_a_gpu_that_its_like_used(most, used, found):
    assert part(most, used, 20_000.0) == found
