"""Arms: dataset × encoders × fusion × method of a study, each with its own fixed values and search space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sweeper import bridge
from sweeper.bridge import Entry
from sweeper.study import space
from sweeper.study.payloads import Payload, digest, identity
from sweeper.study.samplers import Named, name_of
from sweeper.study.schema import Search
from sweeper.study.space import Domain, Space, Values

OF_ENCODER = "train.lr."  # the beginning of a modality's own learning rate


def own_key(work: str, key: str) -> str:
    """Return a run's own key: nothing done by other code stands in for it."""
    return key


@dataclass(frozen=True)
class Arm:
    """One dataset × encoders × fusion × method of a study, its fixed values and the space that is searched.

    It is searched by `metric`, and by `beside` where that names a second one. `reads` are its modalities, `code` is the
    digest of the code that its runs use, and `tested_code` that of final runs where noise or `metrics` of other modules
    make it another. Where `any_code` counts, the arm and its proposals are the same under any, and `stand_in` (work,
    key) gives the key of a run that counts for one to be done.
    """

    axes: dict[str, str]
    dataset: Payload
    reads: tuple[str, ...]
    encoders: dict[str, Payload]
    augment: dict[str, list[Payload]]
    fusion: Payload | None
    method: Entry
    fixed: Values
    space: Space
    published: Values
    conditions: tuple[str, ...]
    metric: str
    code: str
    proposer: tuple[Named, int]
    beside: str = ""
    tested_code: str = ""
    metrics: tuple[str, ...] = ()
    any_code: bool = False
    stand_in: Callable[[str, str], str] = own_key

    @cached_property
    def name(self) -> str:
        """The arm in words, unique in its study."""
        return "/".join(v for v in self.axes.values() if v)

    @cached_property
    def key(self) -> str:
        """A hash of all that decides the arm's proposals."""
        return self.work if self.any_code else self._hash(self.identity)

    @cached_property
    def work(self) -> str:
        """The same whatever the code."""
        return self._hash({name: value for name, value in self.identity.items() if name != "code"})

    @cached_property
    def identity(self) -> Payload:
        """What all its runs have in common that can change their weights."""
        return identity(self.payload({}, "search", 0))

    def _hash(self, payload: Payload) -> str:
        domains = {name: repr(domain) for name, domain in self.space.items()}
        proposer = [*self.proposer, *([self.beside] if self.beside else [])]
        return digest([payload, self.fixed, domains, self.published, proposer])

    @cached_property
    def base(self) -> Values:
        """Every parameter's value where no configuration says otherwise: fixed, published or of the signature."""
        settings = {f"train.{k}": p.default for k, p in bridge.settings.parameters().items()}
        return {**settings, **self.method.defaults(), **self.published, **self.fixed}

    def defaults(self) -> Values:
        """Return configuration 0: the published defaults, where the study fixes nothing else.

        A parameter that has no default takes the middle of its domain, the learning rate of a modality the general one.
        """

        def start(name: str, domain: Domain) -> Any:  # noqa: ANN401 - any hyper-parameter value
            general = self.base["train.lr"] if name.startswith(OF_ENCODER) else domain.at(0.5)
            return self.base.get(name, general)

        return space.filled(self.space, self.fixed, start)

    @property
    def unsearched(self) -> list[str]:
        """The method's own parameters that a study neither fixes nor searches, where it searches none of them."""
        own = self.method.parameters
        return [] if any(name in self.space for name in own) else [k for k in own if k not in self.fixed]

    def size(self, search: Search) -> int:
        """Return how many configurations are tried: one if nothing is searched, no more than a grid has."""
        return space.size(
            name_of(search.sampler), search.configurations, self.space, self.fixed, self.defaults()
        )

    def tested(self, stage: str) -> list[str]:
        """Return the conditions that a run of a stage is tested under."""
        return list(self.conditions) if stage == "final" else []

    def payload(self, parameters: Mapping[str, Any], stage: str, seed: int) -> Payload:
        """Return the run's value for a configuration of this arm."""
        values = {**self.base, **parameters}
        train = {k.removeprefix("train."): v for k, v in values.items() if k.startswith("train.")}
        method = {k: v for k, v in values.items() if not k.startswith("train.")}
        final = stage == "final"
        # those of other modules are measured where they are asked for
        asked = [m for m in (self.beside, *(self.metrics if final else ())) if "." in m.partition("/")[0]]
        return {
            "dataset": self.dataset,
            "encoders": self.encoders,
            "augment": self.augment,
            "fusion": self.fusion,
            "method": {"name": self.method.full, **method},
            "train": train,
            "metric": self.metric,
            "conditions": self.tested(stage),
            "stage": stage,
            "seed": seed,
            "code": self.tested_code if final and self.tested_code else self.code,
            **({"metrics": list(dict.fromkeys(asked))} if asked else {}),
        }


def short_names(axes: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a name for each arm of a study: its method, and as many other axes as tell the arms apart."""
    shown = ["method"]
    for axis in dict.fromkeys(("dataset", "fusion", *(axes[0] if axes else ()))):
        if len({tuple(own[a] for a in shown) for own in axes}) == len(axes):
            break
        if axis != "method" and len({own[axis] for own in axes}) > 1:
            shown.append(axis)
    return [" ".join(own[axis] for axis in shown) for own in axes]
