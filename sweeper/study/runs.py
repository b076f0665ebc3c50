"""Runs are values: a configuration of an arm under a seed; the hash of its payload is the run's key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sweeper import bridge
from sweeper.study.arms import Arm
from sweeper.study.payloads import Payload, digest
from sweeper.study.space import Values

# what differs between the payloads of an arm's runs, conditions aside
OWN = ("method", "train", "stage", "seed", "code", "metrics")


@dataclass(frozen=True)
class Run:
    """One configuration × seed × stage of an arm; `limits` {epoch: worst admissible value} may end it early."""

    arm: Arm
    configuration: int
    parameters: Values
    stage: str
    seed: int
    limits: dict[str, float] = field(default_factory=dict)

    @property
    def payload(self) -> Payload:
        """Everything that can change the result; made anew each time, as a study has many runs."""
        return self.arm.payload(self.parameters, self.stage, self.seed)

    @property
    def identity(self) -> Payload:
        """The payload without what changes no weight: what depends on the run, and the rest as all of its arm's."""
        payload = self.payload
        return {**self.arm.identity, **{name: payload[name] for name in OWN if name in payload}}

    @cached_property
    def work(self) -> str:
        """What is to be done, whatever the code: runs that differ in nothing else share it."""
        return digest({k: v for k, v in self.identity.items() if k != "code"})

    @cached_property
    def key(self) -> str:
        """The identity of the run: where its data lie does not count, their fingerprint does.

        A study that reuses any code's runs takes the key of one that is there.
        """
        own = digest(self.identity)
        return self.arm.stand_in(self.work, own) if self.arm.any_code else own

    @cached_property
    def training(self) -> str | None:
        """The identity of the training that the run shares with those that differ in what is fitted after it."""
        after = self.arm.method.facts["after_training"]
        if not after:
            return None
        identity = self.identity
        method = {k: v for k, v in identity["method"].items() if k not in after}
        return digest({**identity, "method": method})

    def covered(self, metrics: Mapping[str, Any]) -> bool:
        """Return whether a finished run's metrics hold every test condition."""
        tested = {"conditions": self.arm.tested(self.stage)}
        return not bridge.uncovered({"status": "done", "metrics": metrics}, tested)
