"""The samplers that a study may name, and what each of them takes: Optuna's own options, by Optuna's names."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Le

from sweeper.bridge import Parameter
from sweeper.models.errors import UserError, choose

Named = str | dict[str, Any]  # its name, or {name, option: value} where an option is set

# results before which configurations are drawn at random: Optuna's own numbers are for budgets of a hundred and more
STARTUP = Parameter(Annotated[int, Ge(1)], 5)
SHARE = Annotated[float, Ge(0), Le(1)]
OPTIONS: dict[str, dict[str, Parameter]] = {
    "tpe": {
        "n_startup_trials": STARTUP,
        "n_ei_candidates": Parameter(Annotated[int, Ge(1)], 24),
        "constant_liar": Parameter(bool, True),
    },
    "random": {},
    "grid": {},
    "qmc": {},
    "gp": {"n_startup_trials": STARTUP, "deterministic_objective": Parameter(bool, False)},
    "cmaes": {
        "n_startup_trials": Parameter(Annotated[int, Ge(1)], 1),
        "popsize": Parameter(Annotated[int, Ge(4)] | None, None),
        "lr_adapt": Parameter(bool, False),
    },
    "nsgaii": {
        "population_size": Parameter(Annotated[int, Ge(2)], 8),
        "mutation_prob": Parameter(SHARE | None, None),
        "crossover_prob": Parameter(SHARE, 0.9),
        "swapping_prob": Parameter(SHARE, 0.5),
    },
}
OF_ONE_METRIC = ("cmaes",)


def checked(given: Any) -> Named:  # noqa: ANN401 - YAML value before validation
    """Return a sampler as a study keeps it: its name, with the options that are set; raise UserError otherwise."""
    if isinstance(given, str):
        return choose("sampler", given, OPTIONS)
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise UserError("give a sampler's NAME, or {name: NAME, option: value}")
    name = choose("sampler", given["name"], OPTIONS)
    own, place = OPTIONS[name], f"sampler {name!r}"
    found = {
        key: own[choose("option", key, own, place)].admit(value, f"{place}: {key}")
        for key, value in given.items()
        if key != "name"
    }
    return {"name": name, **found} if found else name


def name_of(sampler: Named) -> str:
    """Return a sampler's name."""
    return sampler if isinstance(sampler, str) else sampler["name"]


def options_of(sampler: Named) -> dict[str, Any]:
    """Return all its options, those that are not set at their defaults."""
    given = {} if isinstance(sampler, str) else {k: v for k, v in sampler.items() if k != "name"}
    return {**{key: p.default for key, p in OPTIONS[name_of(sampler)].items()}, **given}


def words(sampler: Named) -> str:
    """Return a sampler in words: its name, with the options that are set."""
    if isinstance(sampler, str):
        return sampler
    return f"{sampler['name']} ({', '.join(f'{k} {v}' for k, v in sampler.items() if k != 'name')})"


def guided_from(sampler: Named, ahead: int) -> int | None:
    """Return the first configuration that depends on results, None if none does or that is the arm's to say."""
    options = options_of(sampler)
    first = options.get("population_size") or options.get("n_startup_trials")
    return first + ahead - 1 if first and name_of(sampler) != "cmaes" else None
