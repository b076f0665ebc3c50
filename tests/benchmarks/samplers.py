"""Samplers on test functions of our spaces' shape: how far below the best they end, at budgets we can afford.

Each function is an accuracy over the learning rates of two optimisers, weight decay, batch size and what a method
adds, with the noise of a seed. What is told is noisy; what counts is the noiseless value of the configuration that was
best as measured. On recorded runs `sweeper replay --sampler` says the same.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable

from sweeper.planning.proposals import sampler
from sweeper.study.schema import Search
from sweeper.study.space import Cases, Domain, Space, Values

SAMPLERS = {
    "random": 100,
    "qmc": 100,
    "tpe": 100,
    "cmaes": 100,
    "nsgaii": 100,
    "gp": 12,
}  # and how often each searches
BUDGETS, AHEAD, NOISE = (8, 16, 32), 4, 0.01
COMMON: Space = {
    "optimizer": Domain("choice", choices=("sgd", "adam")),
    "lr": Cases(
        (
            Domain("float", (0.001, 0.3), log=True, when=(("optimizer", ("sgd",)),), case=1),
            Domain("float", (0.0001, 0.01), log=True, when=(("optimizer", ("adam",)),), case=2),
        )
    ),
    "weight_decay": Domain("float", (1e-6, 1e-2), log=True),
    "batch_size": Domain("choice", choices=(32, 64, 128)),
}
OF_METHOD: Space = {
    "tau": Domain("float", (0.02, 1.0), log=True),
    "schedule": Domain("choice", choices=("learned", "heuristic", "constant")),
    "alpha": Domain("float", (0.0, 1.0), when=(("schedule", ("constant",)),)),
    "scale": Domain("float", (1.0, 100.0), log=True, when=(("schedule", ("heuristic",)),)),
    "eta": Domain("float", (0.003, 0.1), log=True, when=(("schedule", ("learned",)),)),
}
DEFAULTS = {"optimizer": "sgd", "lr": 0.01, "weight_decay": 0.0001, "batch_size": 64}
OF_METHOD_DEFAULTS = {"tau": 0.07, "schedule": "learned", "eta": 0.03}


def trained(values: Values) -> float:
    """Return the accuracy by learning rate, batch size and weight decay: a ridge that falls off steeply above."""
    best = -1.2 if values["optimizer"] == "sgd" else -2.8
    off = math.log10(values["lr"]) - best - 0.5 * math.log10(values["batch_size"] / 64)
    fall = 0.12 * off**2 if off < 0 else 0.6 * off**2
    decay = 0.004 * (math.log10(values["weight_decay"]) + 4) ** 2
    return 0.9 - min(fall, 0.7) - decay - (0.01 if values["optimizer"] == "adam" else 0.0)


def of_method(values: Values) -> float:
    """Return the accuracy where a method's own parameters count as well, each under its schedule."""
    own = {
        "learned": lambda: 0.02 * (math.log10(values["eta"]) + 1.7) ** 2,
        "heuristic": lambda: 0.01 + 0.02 * (math.log10(values["scale"]) - 1.2) ** 2,
        "constant": lambda: 0.02 + 0.15 * (values["alpha"] - 0.4) ** 2,
    }
    return trained(values) - own[values["schedule"]]() - 0.03 * (math.log10(values["tau"]) + 0.9) ** 2


FUNCTIONS: dict[str, tuple[Callable[[Values], float], Space, Values, float]] = {
    "4 common parameters": (trained, COMMON, DEFAULTS, 0.9),
    "and 5 of a method": (of_method, {**COMMON, **OF_METHOD}, {**DEFAULTS, **OF_METHOD_DEFAULTS}, 0.9),
}


def found(name: str, kind: str, budgets: tuple[int, ...], seed: int) -> dict[int, float]:
    """Return {budget: points below the best} of one search, told every result AHEAD configurations later."""
    function, space, defaults, best = FUNCTIONS[kind]
    own = sampler(Search(sampler=name, seed=seed), space, {}, defaults, "max")
    luck = random.Random(f"{kind}/{seed}")
    asked: list[Values] = []
    measured: list[float] = []
    for k in range(max(budgets)):
        if k >= AHEAD:
            own.tell(k - AHEAD, measured[k - AHEAD], "complete")
        asked.append(own.ask(k))
        measured.append(function(asked[k]) + luck.gauss(0, NOISE))
    chosen = {n: max(range(n), key=measured.__getitem__) for n in budgets}
    return {n: 100 * (best - function(asked[k])) for n, k in chosen.items()}


def main() -> None:
    """Print points below the best by function, sampler and budget, with their standard error."""
    for kind in FUNCTIONS:
        print(f"{kind}: points below the best after {', '.join(map(str, BUDGETS))} configurations")
        for name, repeats in SAMPLERS.items():
            began = time.process_time()
            runs = [found(name, kind, BUDGETS, seed) for seed in range(repeats)]
            each = 1000 * (time.process_time() - began) / repeats / max(BUDGETS)
            cells = []
            for n in BUDGETS:
                lost = [run[n] for run in runs]
                cells.append(
                    f"{statistics.mean(lost):.2f} ± {statistics.stdev(lost) / math.sqrt(repeats):.2f}"
                )
            print(f"  {name:8} {'   '.join(cells)}   n {repeats}, {each:.0f} ms a proposal", flush=True)


if __name__ == "__main__":
    main()
