"""Every node has the driver's package and the study's plug-ins, or the study does not begin."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import ray

from sweeper.models.errors import UserError
from sweeper.running import nodes


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster whose only node is this process."""
    there = [{"Alive": True, "NodeManagerAddress": "10.0.0.2", "NodeID": "0" * 56}]
    monkeypatch.setattr(ray, "nodes", lambda: [*there, {"Alive": False}])
    here = lambda look: SimpleNamespace(options=lambda **_: SimpleNamespace(remote=look))  # noqa: E731
    monkeypatch.setattr(ray, "remote", here)
    monkeypatch.setattr(ray, "get", lambda answer, timeout: answer)


def test_a_node_with_all_is_taken():
    nodes.check([])
    nodes.check(["tests.benchmarks.nap"])


def test_a_node_with_another_version_is_named(monkeypatch):
    monkeypatch.setattr(nodes, "package", lambda: "0.0.9 (beef)")
    with pytest.raises(
        UserError, match=r"node 10\.0\.0\.2 has sweeper 0\.1\.0 \(.{8}\), this one has sweeper 0\.0\.9"
    ):
        nodes.check([])


def test_a_node_without_a_plug_in_is_named():
    with pytest.raises(UserError, match=r"node 10\.0\.0\.2 cannot import the plug-in 'nowhere' \(No module"):
        nodes.check(["nowhere"])


def test_a_node_that_does_not_answer_is_named(monkeypatch):
    def late(answer: object, timeout: float) -> None:
        raise ray.exceptions.GetTimeoutError

    monkeypatch.setattr(ray, "get", late)
    with pytest.raises(UserError, match=r"node 10\.0\.0\.2 does not answer \(GetTimeoutError\)"):
        nodes.check([])
