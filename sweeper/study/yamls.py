"""YAML as researchers mean it: `on` and dates are words, 1e-3 is a number, a key given twice is a mistake."""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from sweeper.models.errors import UserError

BOOL, FLOAT, DATE = (f"tag:yaml.org,2002:{name}" for name in ("bool", "float", "timestamp"))
LARGEST_INT = 2**63
MOST_VALUES = 100_000
UNUSABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # in names, labels and paths
UNFIT = (
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
)  # what PyYAML raises for `!!int many`


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the truth values and numbers of YAML 1.2."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in (BOOL, DATE)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        """Return the mapping; PyYAML would silently keep the last of two equal keys."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} stands twice", problem_mark=key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401 - any YAML value
        """Return the node's value; raise MarkedYAMLError for text, or a number, that nothing could be done with."""
        problem = f"{str(node.value)[:50]!r} is no {node.tag.rpartition(':')[2]} that can be used"
        try:
            value = super().construct_object(node, deep)
        except UNFIT:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None
        large = isinstance(value, int) and abs(value) >= LARGEST_INT
        if large or (isinstance(value, str) and UNUSABLE.search(value)):
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return value


_Loader.add_implicit_resolver(BOOL, re.compile("^(true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(
    FLOAT,
    re.compile(r"^([-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"),
    list("-+.0123456789"),
)


def read(text: str, where: str) -> Any:  # noqa: ANN401 - any YAML value
    """Return what the text holds; raises UserError in one sentence that names `where` and the line."""
    try:
        loader = _Loader(text)  # a subclass of the safe loader
        node = loader.get_single_node()
        if node is None:
            return None
        if _size(node, {}) > MOST_VALUES:  # a few lines of aliases can stand for more than any memory
            raise UserError(f"{where} holds more than {MOST_VALUES:,} values, or itself; leave out aliases")
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise UserError(f"{where} is not valid YAML{line}: {problem}") from None
    except RecursionError:
        raise UserError(f"{where} is nested too deeply to be read") from None


def _size(node: yaml.Node, known: dict[int, float]) -> float:
    """Return how many values a node holds, aliases written out: endlessly many if it holds itself."""
    if id(node) not in known:
        known[id(node)] = math.inf
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        inner = (
            node.value if isinstance(node, yaml.SequenceNode) else [part for pair in pairs for part in pair]
        )
        known[id(node)] = 1 + sum(_size(part, known) for part in inner)
    return known[id(node)]
