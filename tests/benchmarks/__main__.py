"""Run benchmarks by name, each in turn on an otherwise quiet machine."""

import sys
import warnings
from importlib import import_module

NAMES = (
    "trainer",
    "steps",
    "ranks",
    "gpu",
    "scale",
    "ledger",
    "simulated",
    "samplers",
    "fronts",
    "fixed",
    "orchestration",
    "nodes",
    "nested",
    "kill",
    "away",
    "datasets",
    "reading",
    "memory",
    "floors",
    "frozen",
    "peers",
)

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for name in sys.argv[1:] or NAMES:
        if name not in NAMES:
            sys.exit(f"unknown benchmark {name!r}; admissible: {', '.join(NAMES)}")
        print(f"== {name}", flush=True)
        import_module(f"tests.benchmarks.{name}").main()
