"""Proposals: Optuna through ask and tell, the same whatever the timing and however often the driver restarts.

Proposal k is drawn by a sampler seeded with (study seed, k) that knows the results it is told, so it can be rebuilt
from the ledger at any time. Optuna's configuration 0 is the published default.
"""

from __future__ import annotations

import hashlib
import random
import warnings
from typing import TYPE_CHECKING, Any, Literal

from sweeper import space
from sweeper.space import Domain, Space, Values

if TYPE_CHECKING:
    import optuna

State = Literal["complete", "pruned", "fail"]


class Proposals:
    """The configurations of one arm: `ask` for number k, `recall` one from the ledger, `tell` its result."""

    def __init__(
        self,
        domains: Space,
        fixed: Values,
        defaults: Values,
        *,
        sampler: str,
        direction: str,
        count: int,
        seed: int,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space, self.fixed, self.defaults = dict(space.ordered(domains)), fixed, defaults
        self.kind, self.count, self.seed = sampler, count, seed
        self.study = optuna.create_study(
            direction={"max": "maximize", "min": "minimize"}[direction],
            sampler=_sampler(sampler, seed, 0, count),
        )
        self.distributions = {name: _distribution(domain) for name, domain in self.space.items()}
        self.points: list[Values] | None = None

    def size(self) -> int:
        """Return how many configurations there are: what was asked for, or fewer if the space holds fewer."""
        if not self.space:
            return 1
        return min(self.count, len(self._grid())) if self.kind == "grid" else self.count

    def ask(self, k: int) -> Values:
        """Return configuration k; numbers must be asked for (or recalled) in order."""
        if k == 0:
            return self.recall(0, self.defaults)
        if self.kind == "grid":
            return self.recall(k, self._grid()[k])
        self.study.sampler = _sampler(self.kind, self.seed, k, self.count)
        if self.kind == "qmc":
            # the sequence lives on the full space; conditions are applied to the point it gives
            trial = self.study.ask(self.distributions)
            return space.restrict({**self.fixed, **trial.params}, self.space)
        trial = self.study.ask()
        values = dict(self.fixed)
        for name, domain in self.space.items():
            if domain.active(values):
                values[name] = _suggest(trial, name, domain)
        return values

    def recall(self, k: int, values: Values) -> Values:
        """Enter configuration k as the ledger or the defaults give it."""
        import optuna

        known = {n: v for n, v in values.items() if n in self.space and _inside(v, self.space[n])}
        if self.kind == "qmc":
            known = {n: known.get(n, _first(d)) for n, d in self.space.items()}
        self.study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.RUNNING,
                params=known,
                distributions={n: self.distributions[n] for n in known},
            )
        )
        return values

    def tell(self, k: int, value: float | None, state: State, step: int = 1) -> None:
        """Tell the result of configuration k; a pruned one keeps the value it had after `step` epochs."""
        import optuna

        if state == "pruned" and value is not None:
            optuna.trial.Trial(self.study, self.study.trials[k]._trial_id).report(value, step)
            self.study.tell(k, state=optuna.trial.TrialState.PRUNED)
        elif state == "complete" and value is not None:
            self.study.tell(k, value)
        else:
            self.study.tell(k, state=optuna.trial.TrialState.FAIL)

    def _grid(self) -> list[Values]:
        if self.points is None:
            points = [p for p in space.grid(self.space, self.fixed) if p != self.defaults]
            random.Random(self.seed).shuffle(
                points
            )  # a budget below the grid's size is an unbiased part of it
            self.points = [self.defaults, *points]
        return self.points


def _sampler(kind: str, seed: int, k: int, count: int) -> optuna.samplers.BaseSampler:
    import optuna

    own = int.from_bytes(hashlib.sha256(f"{seed}/{k}".encode()).digest()[:4], "big")
    if kind == "qmc":
        return optuna.samplers.QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)
    if kind == "tpe":
        startup = min(10, max(3, count // 3))
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", optuna.exceptions.ExperimentalWarning
            )  # group: conditional spaces
            return optuna.samplers.TPESampler(
                seed=own, n_startup_trials=startup, multivariate=True, group=True, constant_liar=True
            )
    return optuna.samplers.RandomSampler(seed=own)


def _distribution(domain: Domain) -> Any:  # noqa: ANN401 - Optuna's distribution
    import optuna

    if domain.kind == "choice":
        return optuna.distributions.CategoricalDistribution(domain.choices)
    if domain.kind == "int":
        return optuna.distributions.IntDistribution(*map(int, domain.bounds), log=domain.log)
    return optuna.distributions.FloatDistribution(*domain.bounds, log=domain.log)


def _suggest(trial: optuna.Trial, name: str, domain: Domain) -> Any:  # noqa: ANN401 - a value of the domain
    if domain.kind == "choice":
        return trial.suggest_categorical(name, domain.choices)
    if domain.kind == "int":
        return trial.suggest_int(name, *map(int, domain.bounds), log=domain.log)
    return trial.suggest_float(name, *domain.bounds, log=domain.log)


def _inside(value: Any, domain: Domain) -> bool:  # noqa: ANN401 - any hyper-parameter value
    """Say whether Optuna's distribution holds the value; a default may lie outside the searched domain."""
    if domain.kind == "choice":
        return value in domain.choices
    return value is not None and domain.bounds[0] <= value <= domain.bounds[1]


def _first(domain: Domain) -> Any:  # noqa: ANN401 - a value of the domain
    return domain.choices[0] if domain.kind == "choice" else domain.bounds[0]
