"""The code that a run's key stands for: what counts, what does not, and that nothing a run imports is forgotten."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.models.methods import ogm
from sweeper.models.schema import sources
from sweeper.models.schema.digest import TRAINER, closure, code_digest
from sweeper.models.schema.entries import entries, entry
from sweeper.models.schema.sources import source_of

USED = {
    "dataset": "synthetic",
    "task": "classification",
    "encoder": "mlp",
    "fusion": "concat",
    "method": "ogm",
    "augmentation": "crop",
}


def digest(**changes):
    return code_digest([entry(kind, name) for kind, name in {**USED, **changes}.items()])


def reached(*used):
    return set(closure([entry(kind, name).source for kind, name in used]))


def test_a_copy_of_the_code_has_the_same_digest(home, anew, monkeypatch):
    copied, own = digest(), Path(ogm.__file__).parents[1]
    assert len(copied) == 16
    assert not entry("method", "ogm").source.path.is_relative_to(own)
    monkeypatch.setattr(sources, "HOME", own)
    anew()
    assert entry("method", "ogm").source.path.is_relative_to(own)
    assert digest() == copied


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("streams.py", "import hashlib\n", "import hashlib\nEXTRA = 1\n"),
        ("streams.py", '"big"', '"little"'),
        ("values.py", "VOID = -1", "VOID = -2"),
        ("training/run.py", "SAVE_EVERY_SECONDS = 30.0", "SAVE_EVERY_SECONDS = 31.0"),
        ("training/trainer.py", "import time\n", "import time\nimport cmath\n"),
        ("training/conditions.py", "np.mean", "np.median"),  # imported inside a function
        ("training/settings.py", "lr: NonNegative = 0.01", "lr: NonNegative = 0.02"),
        ("methods/ogm.py", "class Ogm(Method):", "class Ogm(Method):\n    extra = 1\n"),
        ("method.py", "equal_widths: bool = False", "equal_widths: bool = True"),
        ("encoders/mlp.py", "nn.ReLU()", "nn.GELU()"),
        ("encoders/base.py", "DIM = 64", "DIM = 32"),
        ("fusions/concat.py", "class Concat(Fusion):", "class Concat(Fusion):\n    extra = 1\n"),
        ("fusions/base.py", "bias=False", "bias=True"),
        ("tasks/classification.py", "softmax(-1)", "softmax(1)"),
        ("data/sources/synthetic.py", "STEPS, SAMPLES = 4", "STEPS, SAMPLES = 5"),
        ("data/augment/pictures.py", "padding: Count = 4", "padding: Count = 5"),
        ("data/noise/corruptions.py", "level / 20", "level / 10"),
        ("maths/__init__.py", '"""', 'EXTRA = 1\n"""'),
        ("schema/ranges.py", "Gt(0)", "Gt(1)"),
    ],
)
def test_code_that_a_run_reaches_counts(home, file, old, new):
    before = digest()
    home(file, old, new)
    assert digest() != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("methods/mla.py", "class Mla(Method):", "class Mla(Method):\n    extra = 1\n"),
        ("data/sources/digits.py", "def load", "EXTRA = 1\n\n\ndef load"),
        ("encoders/resnet.py", "(2, 2, 2, 2)", "(1, 1, 1, 1)"),
        ("fusions/lstm.py", "layers: Count = 2", "layers: Count = 3"),
        ("tasks/regression.py", ".abs()", ".square()"),
        ("data/augment/spans.py", "share: Share = 0.2", "share: Share = 0.3"),
        ("methods/brand_new.py", "", "EXTRA = 1\n"),
        ("brand_new.py", "", "EXTRA = 1\n"),
        ("streams.py", "import hashlib\n", "import hashlib  # a comment\n\n\n"),
        ("streams.py", '"""', '"""Said otherwise. '),
        ("streams.py", '"""Return a 63-bit', '"""Give a 63-bit'),
        ("methods/ogm.py", 'class Ogm(Method):\n    """', 'class Ogm(Method):\n    """Said otherwise. '),
        ("values.py", "VOID = -1", "VOID = (-1)"),
    ],
)
def test_words_and_code_that_a_run_does_not_reach_do_not(home, file, old, new):
    before = digest()
    home(file, old, new)
    assert digest() == before


def test_each_part_changes_the_digest():
    others = {
        "dataset": "digits",
        "encoder": "resnet18",
        "fusion": "film",
        "method": "mla",
        "task": "regression",
    }
    found = {digest(), *(digest(**{kind: name}) for kind, name in others.items())}
    assert len(found) == 1 + len(others)


def test_the_order_of_the_parts_does_not():
    used = [entry(kind, name) for kind, name in USED.items()]
    assert code_digest(used) == code_digest(reversed(used)) == code_digest([*used, *used])


def test_a_closure_is_of_the_projects_science_alone():
    found = closure([source_of(TRAINER)])
    assert {"sweeper.models", "sweeper.models.training", "sweeper.models.streams"} <= set(found)
    assert all(name == "sweeper.models" or name.startswith("sweeper.models.") for name in found)
    named = {e.source.module for kind in ("method", "fusion", "encoder") for e in entries(kind).values()}
    assert not named & set(found)


def test_what_a_part_imports_is_reached_from_it():
    assert "sweeper.models.maths.hypergradient" in reached(("method", "lfm"))
    assert "sweeper.models.maths.hypergradient" not in reached(("method", "ogm"))
    assert "sweeper.models.data.readers.sound" in reached(("dataset", "fsdd"))
    assert "sweeper.models.encoders.base" in reached(("encoder", "wave"))


PLUGIN = {
    "lab.method": """
        '''A plugin.'''
        from __future__ import annotations
        from typing import TYPE_CHECKING
        import torch
        from sweeper.models.method import Method
        from sweeper.models.maths import gaussian
        from .parts import first
        if TYPE_CHECKING:
            from lab.types import Thing

        class Mine(Method):
            '''A method.'''

            def loss(self, output, batch, ctx):
                from lab.lazy import factor
                return factor * super().loss(output, batch, ctx)
    """,
    "lab.parts.first": "from . import second\nfrom ..far import CONSTANT\n",
    "lab.parts.second": "import tool\n",
    "lab.far": "CONSTANT = 1\n",
    "lab.lazy": "factor = 1.0\n",
    "lab.types": "class Thing: pass\n",
    "lab.unused": "x = 1\n",
    "tool": "import json, numpy\n",
}


def of_plugin():
    return code_digest([entry("method", "lab.method.mine")])


def test_a_plugin_reaches_its_helpers_and_ours_and_no_library(written):
    written(PLUGIN)
    found = reached(("method", "lab.method.mine"))
    own = {name for name in found if not name.startswith("sweeper.")}
    assert own == {
        *("lab", "lab.method", "lab.parts", "lab.parts.first", "lab.parts.second", "lab.far", "lab.lazy"),
        "tool",
    }
    assert {"sweeper.models.maths.gaussian", "sweeper.models.method", "sweeper.models.net"} <= found


@pytest.mark.parametrize(
    ("module", "text", "counts"),
    [
        ("lab.method", PLUGIN["lab.method"].replace("factor *", "2 * factor *"), True),
        ("lab.far", "CONSTANT = 2\n", True),
        ("lab.lazy", "factor = 2.0\n", True),
        ("lab.parts.second", "import tool\nx = 1\n", True),
        ("lab.parts", "x = 1\n", True),
        ("tool", "import json, numpy\nx = 1\n", True),
        ("lab.method", PLUGIN["lab.method"].replace("A plugin.", "Other words."), False),
        (
            "lab.method",
            PLUGIN["lab.method"].replace("'''A method.'''", "'''A\n            good one.'''"),
            False,
        ),
        ("lab.far", "# a comment\n\nCONSTANT = (1)\n", False),
        ("lab.types", "class Thing: x = 1\n", False),
        ("lab.unused", "x = 2\n", False),
        ("lab.another", "x = 2\n", False),
    ],
)
def test_of_a_plugins_code_what_it_reaches_counts(written, module, text, counts):
    written(PLUGIN)
    before = of_plugin()
    written({module: text})
    assert (of_plugin() != before) == counts


def test_nothing_that_a_run_imports_is_forgotten(tmp_path):
    """A whole run in a process of its own: whatever of models/ it has imported at the end is in the closure."""
    payload = {
        "dataset": {"name": "synthetic", "kind": "image", "train": 16, "validation": 8, "test": 8},
        "encoders": {"m0": {"name": "mlp"}, "m1": {"name": "mlp"}},
        "fusion": {"name": "concat"},
        "method": {"name": "ogm"},
        "augment": {"m0": [{"name": "crop"}]},
        "seed": 0,
        "train": {"epochs": 2},
        "metric": "accuracy",
        "conditions": ["clean", "gaussian-5"],
    }
    script = (
        "import json, pathlib, sys\n"
        "from sweeper.models.training.run import Order, execute\n"
        f"result = execute(Order(json.loads({json.dumps(payload)!r}), pathlib.Path({str(tmp_path)!r})))\n"
        "assert result['status'] == 'done', result\n"
        "print(json.dumps([m for m in sys.modules if m.startswith('sweeper.models')]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    imported = set(json.loads(done.stdout.splitlines()[-1]))
    used = [entry(kind, name).source for kind, name in USED.items()]
    assert imported - set(closure([source_of(TRAINER), *used])) == set()
    assert {"sweeper.models.training.run", "sweeper.models.methods.ogm"} <= imported
