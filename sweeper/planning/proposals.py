"""Proposals: a sampler per class, the same whatever the timing and however often the driver restarts.

Configuration k is a function of (seed, k), of the configurations before it and of the results told so far; nothing
else is remembered, so the ledger is enough to go on from. Configuration 0 is the published default.
"""

from __future__ import annotations

import hashlib
import warnings
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from sweeper.study import space
from sweeper.study.space import Domain, Space, Values

if TYPE_CHECKING:
    import optuna

State = Literal["complete", "pruned", "fail"]
STARTUP = 5


def guided_from(ahead: int) -> int:
    """Return the first configuration that tpe proposes from results; those before it are drawn at random."""
    return STARTUP + ahead - 1


class Sampler(ABC):
    """The configurations of one arm: `ask` for number k or `recall` it, k in order; `tell` its result."""

    def __init__(
        self, domains: Space, fixed: Values, defaults: Values, *, direction: str = "max", seed: int = 0
    ) -> None:
        self.space, self.fixed, self.defaults = dict(space.ordered(domains)), fixed, defaults
        self.direction, self.seed = direction, seed

    def ask(self, k: int) -> Values:
        """Return configuration k."""
        values = self.proposed(k) if k else self.defaults
        self.recall(k, values)
        return values

    @abstractmethod
    def proposed(self, k: int) -> Values:
        """Return configuration k, from 1."""

    def recall(self, k: int, values: Values) -> None:  # noqa: B027 - most need no memory
        """Enter configuration k as the ledger or the sampler itself gives it."""

    def tell(self, k: int, value: float | None, state: State, step: int = 1) -> None:  # noqa: B027
        """Tell the result of configuration k; a pruned one has the value that it had after `step` epochs."""


class Grid(Sampler):
    """Every point of the grid, the defaults first and the others shuffled."""

    def proposed(self, k: int) -> Values:
        """Return point k."""
        if not hasattr(self, "points"):
            self.points = space.points(self.space, self.fixed, self.defaults, self.seed)
        return self.points[k]


class Qmc(Sampler):
    """A scrambled Sobol sequence on the full space, to which conditions are applied."""

    def proposed(self, k: int) -> Values:
        """Return point k - 1 of the sequence."""
        from scipy.stats import qmc

        sequence = qmc.Sobol(len(self.space), scramble=True, rng=self.seed)
        if k > 1:
            sequence.fast_forward(k - 1)
        shares = dict(zip(self.space, sequence.random(1)[0], strict=True))
        return space.filled(self.space, self.fixed, lambda name, own: own.at(shares[name]))


class Random(Sampler):
    """Optuna's independent draws; no result changes them, so it is told none."""

    def proposed(self, k: int) -> Values:
        """Return draw k."""
        import optuna

        sampler = optuna.samplers.RandomSampler(seed=_seed(self.seed, k))

        def draw(name: str, domain: Domain) -> Any:  # noqa: ANN401 - a value of the domain
            own = distribution(domain)
            return domain.at(0.0) if own.single() else sampler.sample_independent(None, None, name, own)

        return space.filled(self.space, self.fixed, draw)


class Tpe(Sampler):
    """Optuna's tree-structured Parzen estimator, after STARTUP results; conditional spaces in groups."""

    def __init__(
        self, domains: Space, fixed: Values, defaults: Values, *, direction: str = "max", seed: int = 0
    ) -> None:
        import optuna

        super().__init__(domains, fixed, defaults, direction=direction, seed=seed)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.study = optuna.create_study(direction={"max": "maximize", "min": "minimize"}[direction])
        self.trials: list[optuna.Trial] = []

    def proposed(self, k: int) -> Values:
        """Return what the sampler draws for configuration k."""
        import optuna

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # group
            self.study.sampler = optuna.samplers.TPESampler(
                seed=_seed(self.seed, k),
                n_startup_trials=STARTUP,
                multivariate=True,
                group=True,
                constant_liar=True,
            )
        draft = self.study.ask()
        values = space.filled(self.space, self.fixed, partial(_suggest, draft))
        # a draft also knows what it drew for inactive parameters, which the ledger does not, so it must not stay
        self.study.tell(draft, state=optuna.trial.TrialState.FAIL)
        return values

    def recall(self, k: int, values: Values) -> None:
        """Enter configuration k; Optuna sees what lies within the space."""
        import optuna

        given = {name: self.space[name].given(values) for name in values if name in self.space}
        seen = {name: own for name, own in given.items() if own and own.holds(values[name])}
        self.study.sampler = optuna.samplers.RandomSampler()  # draws nothing: all values are given
        self.study.enqueue_trial({label(name, own): values[name] for name, own in seen.items()})
        trial = self.study.ask()
        for name, own in seen.items():
            _suggest(trial, name, own)
        self.trials.append(trial)

    def tell(self, k: int, value: float | None, state: State, step: int = 1) -> None:
        """Tell Optuna the result of configuration k."""
        import optuna

        if state == "pruned":
            self.trials[k].report(value, step)
        found = value if state == "complete" else None
        self.study.tell(self.trials[k], found, state=optuna.trial.TrialState[state.upper()])


SAMPLERS: dict[str, type[Sampler]] = {"tpe": Tpe, "random": Random, "grid": Grid, "qmc": Qmc}


def _seed(seed: int, k: int) -> int:
    """Return the seed of configuration k's draw."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{k}".encode()).digest()[:4], "big")


def distribution(domain: Domain) -> optuna.distributions.BaseDistribution:
    """Return the domain as Optuna has it."""
    from optuna import distributions

    if domain.kind == "choice":
        return distributions.CategoricalDistribution(domain.choices)
    if domain.kind == "int":
        return distributions.IntDistribution(*map(int, domain.bounds), log=domain.log)
    return distributions.FloatDistribution(*domain.bounds, log=domain.log)


def label(name: str, domain: Domain) -> str:
    """Return what Optuna calls a parameter: it knows one domain under each name."""
    return f"{name} {domain.case}" if domain.case else name


def _suggest(trial: optuna.Trial, name: str, domain: Domain) -> Any:  # noqa: ANN401 - a value of the domain
    name = label(name, domain)
    if domain.kind == "choice":
        return trial.suggest_categorical(name, domain.choices)
    if domain.kind == "int":
        return trial.suggest_int(name, *domain.bounds, log=domain.log)
    return trial.suggest_float(name, *domain.bounds, log=domain.log)
