"""What the ledger holds, typed: every kind of record, from and to a line of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, TypeAdapter

from sweeper.study.schema import Final, Layout, Search, Select
from sweeper.study.space import Domain

Raw = Mapping[str, Any]
Words = dict[str, str]


def having(*keys: str) -> AfterValidator:
    """Return a check that a mapping has these keys at least."""

    def check(words: Words) -> Words:
        if not words.keys() >= set(keys):
            raise ValueError(f"it needs {', '.join(keys)}")
        return words

    return AfterValidator(check)


Axes = Annotated[Words, having("dataset", "encoders", "fusion", "method")]
Failure = Annotated[Words, having("class", "message")]
Stage = Literal["search", "final"]
Status = Literal["done", "pruned", "diverged", "failed", "preempted"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """Base of all records; JSON objects of its `KIND`, whose keys are its fields."""

    KIND: ClassVar[str]

    @classmethod
    def of(cls, raw: Raw) -> Self:
        """Return the record that a JSON object is, without keys it does not know; raise ValueError if it is none."""
        return _adapter(cls).validate_python(raw, extra="ignore")

    def raw(self) -> dict[str, Any]:
        """Return the record as plain data."""
        return {"kind": self.KIND, **{f.name: getattr(self, f.name) for f in fields(self)}}

    @property
    def subject(self) -> tuple[Any, ...]:
        """What the record is about: of two on one subject the later counts."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ArmPlan:
    """An arm that a study announced: its key, its place in tables, the code its runs use, its configurations.

    Arms that differ in their code alone share `work`. `reads` are the modalities it uses, `floor` says that arms on the
    same ones are to reach it. `space` {parameter: its domains} is what is searched, by the study's metric and by
    `beside` where it has that, `unsearched` are parameters of its method, of which none is.
    """

    key: str
    axes: Axes
    code: str = ""
    work: str = ""
    size: int = 0
    reads: tuple[str, ...] = ()
    floor: bool = False
    beside: str = ""
    space: dict[str, tuple[Domain, ...]] = field(default_factory=dict)
    unsearched: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Announced(Record):
    """What a study plans: its arms, seeds, rules and layout; `unfit` are the arms left out, with the reason."""

    KIND = "study"
    study: str
    arms: Annotated[tuple[ArmPlan, ...], Field(min_length=1)]
    search: Search
    final: Final
    select: Select
    layout: Layout
    conditions: Annotated[tuple[str, ...], Field(min_length=1)] = ("clean",)
    checkpoints: str = "best"
    reuse: str = "code"
    unfit: tuple[dict[str, Any], ...] = ()
    git: str = ""

    def raw(self) -> dict[str, Any]:
        """Return the announcement as plain data."""
        parts = {name: getattr(self, name).model_dump() for name in ("search", "final", "select", "layout")}
        arms = [asdict(arm) for arm in self.arms]
        return {**super().raw(), **parts, "arms": arms}

    def searched_by(self, arm: ArmPlan) -> list[str]:
        """Return what an arm's search goes by: one metric, or two."""
        return [metric for metric in (self.select.metric, arm.beside) if metric]

    @property
    def subject(self) -> tuple[Any, ...]:
        """The study."""
        return self.KIND, self.study


@dataclass(frozen=True, kw_only=True)
class Proposed(Record):
    """A configuration of an arm."""

    KIND = "proposed"
    arm: str
    configuration: int
    parameters: dict[str, Any]

    @property
    def subject(self) -> tuple[Any, ...]:
        """The configuration."""
        return self.KIND, self.arm, self.configuration


@dataclass(frozen=True, kw_only=True)
class Shared(Record):
    """A run that counts for a configuration, carried out as another's."""

    KIND = "shared"
    arm: str
    configuration: int
    stage: Stage
    seed: int
    key: str

    @property
    def subject(self) -> tuple[Any, ...]:
        """The configuration's seed."""
        return self.KIND, self.arm, self.configuration, self.seed


@dataclass(frozen=True, kw_only=True)
class Selected(Record):
    """An arm's configuration, frozen on validation by a rule, and the keys of its final runs by seed."""

    KIND = "selected"
    study: str
    arm: str
    axes: dict[str, str]
    configuration: int
    parameters: dict[str, Any]
    rule: str
    runs: dict[int, str]

    @property
    def subject(self) -> tuple[Any, ...]:
        """The arm in its study."""
        return self.KIND, self.study, self.arm


@dataclass(frozen=True, kw_only=True)
class RunRecord(Record):
    """A run that was carried out: what it was, what it found, what it cost, where it came from.

    `status` is done, pruned, diverged, failed or preempted; `metrics` {split: {metric: value}}; `curve` holds the
    selection metric after every epoch; `kept` says why the weights are those of `best_epoch`. `hardware` is what
    trained it, empty in old records. `work` is what was done whatever the code, `code` the digest of that.
    """

    KIND = "run"
    key: str
    status: Status
    study: str = ""
    arm: str = ""
    axes: dict[str, str] = field(default_factory=dict)
    configuration: int = 0
    parameters: dict[str, Any] = field(default_factory=dict)
    stage: Stage = "search"
    seed: int = 0
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    curve: list[float] = field(default_factory=list)
    epochs: int = 0
    best_epoch: int = -1
    kept: str = "best"
    error: Failure | None = None
    trace: str = ""
    started: float = 0.0
    seconds: float = 0.0
    bytes: int = 0
    memory_mb: float = 0.0
    gpu_memory_mb: float = 0.0
    gpu_total_mb: float = 0.0
    host: str = ""
    hardware: Words = field(default_factory=dict)
    work: str = ""
    code: str = ""
    git: str = ""
    versions: str = ""

    @property
    def subject(self) -> tuple[Any, ...]:
        """The run."""
        return self.KIND, self.key

    @property
    def done(self) -> bool:
        """Whether it ran to its end."""
        return self.status == "done"

    @property
    def failure(self) -> str:
        """What went wrong, empty if nothing did."""
        return "{class}: {message}".format(**self.error) if self.error else ""

    @property
    def validation(self) -> dict[str, float]:
        """Its metrics on validation."""
        return self.metrics.get("validation", {})


@cache
def _adapter(kind: type[Record]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


KINDS: dict[str, type[Record]] = {
    kind.KIND: kind for kind in (Announced, Proposed, Shared, Selected, RunRecord)
}


def typed(raw: Raw) -> Record:
    """Return the record that a JSON value is; raises KeyError, TypeError or ValueError if it is none."""
    return KINDS[raw["kind"]].of(raw)
