"""Proposals: a sampler per class, the same whatever the timing and however often the driver restarts.

Configuration k is a function of (seed, k), of the configurations before it and of the results told so far; nothing
else is remembered, so the ledger is enough to go on from. Configuration 0 is the published default.
"""

from __future__ import annotations

import hashlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from sweeper.study import space
from sweeper.study.samplers import name_of, options_of
from sweeper.study.schema import Search
from sweeper.study.space import Cases, Domain, Space, Values

if TYPE_CHECKING:
    import optuna

State = Literal["complete", "pruned", "fail"]
BEHIND = "behind the published defaults"
Value = float | Sequence[float] | None


class Sampler(ABC):
    """The configurations of one arm: `ask` for number k or `recall` it, k in order; `tell` its result.

    `directions` say which way each metric of the search is better, max or min: of one, or of two at once.
    """

    def __init__(
        self,
        domains: Space,
        fixed: Values,
        defaults: Values,
        *,
        directions: Sequence[str] = ("max",),
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.space, self.fixed, self.defaults = dict(space.ordered(domains)), fixed, defaults
        self.directions, self.seed, self.options = directions, seed, dict(options or {})

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

    def tell(self, k: int, value: Value, state: State, step: int = 1) -> None:  # noqa: B027
        """Tell the result of configuration k; a pruned one has the value that it had after `step` epochs.

        Of two metrics the value is two, and none is pruned.
        """


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


class Optuna(Sampler):
    """A sampler of Optuna's that is told results: each configuration is a trial of an Optuna study in memory.

    Where there are two metrics, being behind the published defaults in the first is told as a violated constraint.
    `seen` says how a configuration looks to Optuna. For every draw the sampler is made anew; what one remembers beyond
    that lies in the trials, so where it `remembers` it is asked again when a configuration is recalled.
    """

    remembers = False

    def __init__(self, *space: Values, **others: Any) -> None:  # noqa: ANN401 - those of Sampler
        import optuna

        super().__init__(*space, **others)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        ways = {"max": "maximize", "min": "minimize"}
        self.study = optuna.create_study(directions=[ways[way] for way in self.directions])
        self.trials: list[optuna.Trial] = []
        self.drafted = 0
        self.defaults_reached: float | None = None
        self.distributions: dict[
            str, optuna.distributions.BaseDistribution
        ] = {}  # drawn for every configuration

    @abstractmethod
    def made(self, seed: int) -> optuna.samplers.BaseSampler:
        """Return Optuna's sampler."""

    @abstractmethod
    def drawn(self, draft: optuna.Trial) -> Values:
        """Return the configuration that a trial draws."""

    @abstractmethod
    def seen(self, values: Values) -> dict[str, tuple[optuna.distributions.BaseDistribution, Any]]:
        """Return {parameter of Optuna's: (distribution, value)} of a configuration, empty if it is not to be told."""

    def proposed(self, k: int) -> Values:
        """Return what the sampler draws for configuration k."""
        import optuna

        self.study.sampler = self._made(k)
        draft = self.study.ask(self.distributions)
        values = self.drawn(draft)
        # a draft also knows what it drew for inactive parameters, which the ledger does not, so it must not stay
        self.study.tell(draft, state=optuna.trial.TrialState.FAIL)
        self.drafted = k
        return values

    def recall(self, k: int, values: Values) -> None:
        """Enter configuration k; Optuna sees what lies within the space."""
        import optuna

        seen = self.seen(values)
        if self.remembers and self.drafted < k:  # trials are numbered as if it had been drawn
            self.study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
        # without a memory nothing is drawn: all values are given
        self.study.sampler = self._made(k) if self.remembers else optuna.samplers.RandomSampler()
        self.study.enqueue_trial({name: value for name, (_, value) in seen.items()})
        trial = self.study.ask({name: own for name, (own, _) in seen.items()})
        if self.remembers:
            _ = trial.relative_params  # drawn for what the sampler notes in the trial as it draws
        self.trials.append(trial)

    def tell(self, k: int, value: Value, state: State, step: int = 1) -> None:
        """Tell Optuna the result of configuration k."""
        import optuna

        trial = self.trials[k]
        if state == "pruned":
            trial.report(value, step)
        if len(self.directions) > 1 and value is not None:
            self.defaults_reached = value[0] if k == 0 else self.defaults_reached
            if self.defaults_reached is not None:
                behind = self.defaults_reached - value[0]
                trial.set_constraint(BEHIND, behind if self.directions[0] == "max" else -behind)
        found = value if state == "complete" else None
        self.study.tell(trial, found, state=optuna.trial.TrialState[state.upper()])

    def _made(self, k: int) -> optuna.samplers.BaseSampler:
        import optuna

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return self.made(_seed(self.seed, k))


class Tpe(Optuna):
    """Optuna's tree-structured Parzen estimator; conditional spaces in groups.

    Of two metrics it is MOTPE (Ozaki et al., GECCO 2020).
    """

    def made(self, seed: int) -> optuna.samplers.BaseSampler:
        """Return the sampler."""
        import optuna

        return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, **self.options)

    def drawn(self, draft: optuna.Trial) -> Values:
        """Return what is drawn for those parameters whose conditions hold."""
        return space.filled(self.space, self.fixed, partial(_suggest, draft))

    def seen(self, values: Values) -> dict[str, tuple[optuna.distributions.BaseDistribution, Any]]:
        """Return the parameters whose values lie in their domains."""
        given = {name: self.space[name].given(values) for name in values if name in self.space}
        held = {name: own for name, own in given.items() if own and own.holds(values[name])}
        return {label(name, own): (distribution(own), values[name]) for name, own in held.items()}


class Whole(Optuna):
    """A sampler that knows no conditions: it sees every parameter of every configuration.

    A number is seen as the share of its domain that lies below it, whichever of its domains that is, and a parameter
    whose conditions do not hold as the middle. A configuration outside the space, as defaults may be, is not told; one
    that was ended early counts as the worst that was not.
    """

    def __init__(self, *space: Values, **others: Any) -> None:  # noqa: ANN401 - those of Sampler
        from optuna.distributions import FloatDistribution

        super().__init__(*space, **others)
        share = FloatDistribution(0.0, 1.0)
        self.distributions = {
            name: distribution(own) if _chosen(own) else share for name, own in self.space.items()
        }
        self.worst: float | None = None

    def drawn(self, draft: optuna.Trial) -> Values:
        """Return the choices and the values at the shares drawn, of those parameters whose conditions hold."""

        def at(name: str, own: Domain) -> Any:  # noqa: ANN401 - a value of the domain
            found = draft.params[name]
            return found if _chosen(self.space[name]) else own.at(found)

        return space.filled(self.space, self.fixed, at)

    def seen(self, values: Values) -> dict[str, tuple[optuna.distributions.BaseDistribution, Any]]:
        """Return all parameters as choices and shares."""
        found = {}
        for name, distribution in self.distributions.items():
            own = self.space[name].given(values) if name in values else None
            if own and not own.holds(values[name]):
                return {}
            share = own.share(values[name]) if own else 0.5
            found[name] = (distribution, self.space[name].at(share) if _chosen(self.space[name]) else share)
        return found

    def tell(self, k: int, value: Value, state: State, step: int = 1) -> None:
        """Tell Optuna the result of configuration k."""
        if state == "pruned":
            value, state = self.worst, "fail" if self.worst is None else "complete"
        elif state == "complete" and len(self.directions) == 1:
            worse = min if self.directions[0] == "max" else max
            self.worst = value if self.worst is None else worse(self.worst, value)
        super().tell(k, value, state if self.trials[k].params else "fail", step)


class Gp(Whole):
    """Optuna's Gaussian process with the logarithm of the expected improvement, of two metrics of the hypervolume's."""

    def made(self, seed: int) -> optuna.samplers.BaseSampler:
        """Return the sampler."""
        import optuna

        return optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False, **self.options)


class CmaEs(Whole):
    """Optuna's evolution strategy with an adapted covariance matrix, for one metric; choices are drawn at random."""

    remembers = True

    def made(self, seed: int) -> optuna.samplers.BaseSampler:
        """Return the sampler."""
        import optuna

        return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False, **self.options)


class NsgaII(Whole):
    """Optuna's genetic algorithm of non-dominated sorting."""

    remembers = True

    def made(self, seed: int) -> optuna.samplers.BaseSampler:
        """Return the sampler."""
        import optuna

        return optuna.samplers.NSGAIISampler(seed=seed, **self.options)


SAMPLERS: dict[str, type[Sampler]] = {
    "tpe": Tpe,
    "random": Random,
    "grid": Grid,
    "qmc": Qmc,
    "gp": Gp,
    "cmaes": CmaEs,
    "nsgaii": NsgaII,
}


def sampler(search: Search, domains: Space, fixed: Values, defaults: Values, *directions: str) -> Sampler:
    """Return the sampler that a study searches by, in the directions of its metrics."""
    options = options_of(search.sampler)
    made = SAMPLERS[name_of(search.sampler)]
    return made(domains, fixed, defaults, directions=directions, seed=search.seed, options=options)


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


def _chosen(domain: Domain | Cases) -> bool:
    """Whether a parameter is one of several choices, the same whatever the conditions."""
    return isinstance(domain, Domain) and domain.kind == "choice"


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
