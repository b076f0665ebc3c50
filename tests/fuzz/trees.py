"""Plain data of any shape, and what is left of a known one after changes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

NAMES = [
    "joint",
    "lfm",
    "rw",
    "unimodal",
    "synthetic",
    "digits",
    "arrays",
    "fsdd",
    "concat",
    "film",
    "mlp",
    "resnet18",
]
NAMES += [
    "float",
    "int",
    "choice",
    "when",
    "points",
    "log",
    "path",
    "weights",
    "label",
    "name",
    "preset",
    "kinds",
]
NAMES += [
    "accuracy",
    "accuracy/m0",
    "weight",
    "gaussian-5",
    "m0",
    "tau",
    "train.lr",
    "grid",
    "qmc",
    "any",
    "all",
]
NAMES += [
    "/dev/zero",
    "/dev/stdin",
    "/",
    "..",
    "x\0y",
    "a" * 300,
    "a/b",
    "no_such_module",
    "sweeper",
    "os",
    ".",
    "",
]

numbers = st.sampled_from(
    [0, -1, 2**31, 2**63, 10**18, 10**400, -(10**400), 1e308, 5e-324, float("nan"), float("inf")]
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 200),
    numbers,
    st.floats(),
    st.sampled_from(NAMES),
    st.text(max_size=8),
)


def trees_of(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return small trees of lists and mappings."""
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=8,
    )


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Return (container, key) of everything in a tree."""
    if not isinstance(tree, dict | list):
        return []
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    return [(tree, key) for key in keys] + [place for key in keys for place in places(tree[key])]


@st.composite
def mutated(
    draw: st.DrawFn, bases: Sequence[Any], trees: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]
) -> Any:
    """Draw one of the bases of which up to three places hold something else, or nothing, or what another holds."""
    raw = copy.deepcopy(draw(st.sampled_from(bases)))
    for _ in range(draw(st.integers(1, 3))):
        found = places(raw)
        if not found:
            break
        (container, key), (other, name) = draw(st.sampled_from(found)), draw(st.sampled_from(found))
        change = draw(st.sampled_from(["replace", "delete", "add", "copy"]))
        if change == "delete":
            del container[key]
        elif change == "replace":
            container[key] = draw(trees)
        elif change == "copy":
            container[key] = copy.deepcopy(other[name])
        elif isinstance(container, dict):
            container[draw(keys)] = draw(trees)
        else:
            container.insert(key, draw(trees))
    return raw
