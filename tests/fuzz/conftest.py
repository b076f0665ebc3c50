"""How many cases: a few hundred of each kind, the same ones every time; thousands of new ones where asked for.

pytest tests/fuzz --hypothesis-profile thorough
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

EVERYWHERE = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("suite", max_examples=200, derandomize=True, **EVERYWHERE)
settings.register_profile("thorough", max_examples=4000, print_blob=True, **EVERYWHERE)
settings.load_profile("suite")
