"""Runs are values: a configuration of an arm under a seed; the hash of its payload is the run's key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sweeper import bridge
from sweeper.study.arms import Arm
from sweeper.study.payloads import Payload, digest, identity
from sweeper.study.space import Values


@dataclass(frozen=True)
class Run:
    """One configuration × seed × stage of an arm; `limits` {epoch: worst admissible value} may end it early."""

    arm: Arm
    configuration: int
    parameters: Values
    stage: str
    seed: int
    limits: dict[str, float] = field(default_factory=dict)

    @cached_property
    def payload(self) -> Payload:
        """Everything that can change the result."""
        return self.arm.payload(self.parameters, self.stage, self.seed)

    @cached_property
    def work(self) -> str:
        """What is to be done, whatever the code: runs that differ in nothing else share it."""
        return digest({k: v for k, v in identity(self.payload).items() if k != "code"})

    @cached_property
    def key(self) -> str:
        """The identity of the run: where its data lie does not count, their fingerprint does.

        A study that reuses any code's runs takes the key of one that is there.
        """
        return self.arm.stand_in(self.work, digest(identity(self.payload)))

    @cached_property
    def training(self) -> str | None:
        """The identity of the training that the run shares with those that differ in what is fitted after it."""
        after = self.arm.method.facts["after_training"]
        method = {k: v for k, v in self.payload["method"].items() if k not in after}
        return digest(identity({**self.payload, "method": method})) if after else None

    def covered(self, metrics: Mapping[str, Any]) -> bool:
        """Return whether a finished run's metrics hold every test condition."""
        return not bridge.uncovered({"status": "done", "metrics": metrics}, self.payload)
