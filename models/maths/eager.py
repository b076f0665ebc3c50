"""torch's optimisers without its compiler."""

from __future__ import annotations

import inspect
from functools import cache

import torch
from torch.optim import Optimizer

GUARDED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


@cache
def eager(kind: type[Optimizer]) -> type[Optimizer]:
    """Return one of torch's optimisers without its guards against torch's compiler, which nothing here uses.

    The first guard that is entered imports the compiler: about a second and 70 MB in every process.
    """
    plain = {name: inspect.unwrap(getattr(kind, name)) for name in (*GUARDED, "step")}
    plain["step"] = torch.no_grad()(plain["step"])
    return type(kind.__name__, (kind,), plain)
