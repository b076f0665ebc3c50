"""Proposals: Optuna through ask and tell, the same whatever the timing and however often the driver restarts.

Configuration k is a function of (seed, k), of the configurations before it and of the results told so far; nothing
else is remembered, so the ledger is enough to go on from. Configuration 0 is the published default.
"""

from __future__ import annotations

import hashlib
import warnings
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


class Proposals:
    """The configurations of one arm: `ask` for number k or `recall` it, k in order; `tell` its result."""

    def __init__(
        self,
        domains: Space,
        fixed: Values,
        defaults: Values,
        *,
        sampler: str,
        direction: str,
        seed: int,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space, self.fixed, self.seed = dict(space.ordered(domains)), fixed, seed
        self.sampler = sampler
        self.points = space.points(domains, fixed, defaults, seed) if sampler == "grid" else [defaults]
        self.study = optuna.create_study(direction={"max": "maximize", "min": "minimize"}[direction])
        self.trials: list[optuna.Trial] = []

    def ask(self, k: int) -> Values:
        """Return configuration k."""
        if k < len(self.points):
            return self.recall(k, self.points[k])
        return self.recall(k, self._sobol(k) if self.sampler == "qmc" else self._optuna(k))

    def recall(self, k: int, values: Values) -> Values:
        """Enter configuration k as the ledger or the defaults give it; Optuna sees what lies within the space."""
        import optuna

        seen = {name: v for name, v in values.items() if name in self.space and self.space[name].holds(v)}
        self.study.sampler = optuna.samplers.RandomSampler()  # draws nothing: all values are given
        self.study.enqueue_trial(seen)
        trial = self.study.ask()
        for name in seen:
            _suggest(trial, name, self.space[name])
        self.trials.append(trial)
        return values

    def tell(self, k: int, value: float | None, state: State, step: int = 1) -> None:
        """Tell the result of configuration k; a pruned one has the value that it had after `step` epochs."""
        import optuna

        if state == "pruned":
            self.trials[k].report(value, step)
        found = value if state == "complete" else None
        self.study.tell(self.trials[k], found, state=optuna.trial.TrialState[state.upper()])

    def _sobol(self, k: int) -> Values:
        """Return point k - 1 of a scrambled Sobol sequence on the full space; conditions are applied to it."""
        from scipy.stats import qmc

        sequence = qmc.Sobol(len(self.space), scramble=True, rng=self.seed)
        if k > 1:
            sequence.fast_forward(k - 1)
        shares = sequence.random(1)[0]
        values = {name: d.at(share) for (name, d), share in zip(self.space.items(), shares, strict=True)}
        return space.restrict({**self.fixed, **values}, self.space)

    def _optuna(self, k: int) -> Values:
        import optuna

        self.study.sampler = _sampler(self.sampler, self.seed, k)
        draft, values = self.study.ask(), dict(self.fixed)
        for name, domain in self.space.items():
            if domain.active(values):
                values[name] = _suggest(draft, name, domain)
        # a draft also knows what it drew for inactive parameters, which the ledger does not, so it must not stay
        self.study.tell(draft, state=optuna.trial.TrialState.FAIL)
        return values


def _sampler(kind: str, seed: int, k: int) -> optuna.samplers.BaseSampler:
    import optuna

    own = int.from_bytes(hashlib.sha256(f"{seed}/{k}".encode()).digest()[:4], "big")
    if kind == "random":
        return optuna.samplers.RandomSampler(seed=own)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # group: conditional spaces
        return optuna.samplers.TPESampler(
            seed=own, n_startup_trials=STARTUP, multivariate=True, group=True, constant_liar=True
        )


def _suggest(trial: optuna.Trial, name: str, domain: Domain) -> Any:  # noqa: ANN401 - a value of the domain
    if domain.kind == "choice":
        return trial.suggest_categorical(name, domain.choices)
    if domain.kind == "int":
        return trial.suggest_int(name, *domain.bounds, log=domain.log)
    return trial.suggest_float(name, *domain.bounds, log=domain.log)
