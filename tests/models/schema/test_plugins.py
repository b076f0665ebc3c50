"""What plug-ins and installed distributions bring of every kind, and which of several parts a name means."""

import sys

import pytest

from sweeper.models.errors import UserError
from sweeper.models.schema import plugins
from sweeper.models.schema.digest import code_digest
from sweeper.models.schema.entries import OPEN, brought, entries, entry

PARTS = """
    from sweeper.models.data.augment.base import Augmentation
    from sweeper.models.data.noise.base import Noise
    from sweeper.models.data.readers.base import Reader
    from sweeper.models.encoders.base import Encoder
    from sweeper.models.fusions.base import Fusion
    from sweeper.models.maths.metric import Metric
    from sweeper.models.method import Method
    from sweeper.models.tasks.base import Task

    class OwnMethod(Method): '''A method.'''
    class OwnEncoder(Encoder): takes = ("vector",)
    class OwnFusion(Fusion): reads = "tokens"
    class OwnAugmentation(Augmentation): takes = ("audio",)
    class OwnReader(Reader): suffixes = (".dcm",)
    class OwnMetric(Metric): better = "min"
    class OwnNoise(Noise): largest = 3.0
    class OwnTask(Task): '''No part that may be brought.'''
    class _Shared(Encoder): '''Not named either.'''

    def load(*, root=None, rows: int = 5): ...
    def files(*, root=None, **options): ...
    def inputs(*, root=None, **options): ...
"""
CONCAT = "from sweeper.models.fusions.base import Fusion\nclass Concat(Fusion): '''Another.'''\n"
PRODUCT = CONCAT.replace("Concat", "Product")


@pytest.fixture
def installs(tmp_path, monkeypatch):
    """Call it with {distribution: module}: distributions that offer modules."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def write(offered):
        for name, module in offered.items():
            about = site / f"{name}-1.0.dist-info"
            about.mkdir()
            (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            (about / "entry_points.txt").write_text(f"[sweeper.plugins]\npart = {module}\n")
        plugins.distributed.cache_clear()

    yield write
    monkeypatch.undo()
    plugins.distributed.cache_clear()


def test_one_module_may_bring_a_part_of_every_kind(written):
    written({"lab.parts": PARTS})
    found = {e.kind: e for e in brought("lab.parts")}
    assert set(found) == {*OPEN, "dataset"}
    assert {e.name for kind, e in found.items() if kind not in ("dataset", "condition")} == {
        f"own_{kind}" for kind in set(OPEN) - {"condition"}
    }
    assert (found["dataset"].name, found["condition"].name) == ("parts", "own_noise")
    assert found["dataset"].defaults() == {"rows": 5}
    for kind, own in found.items():
        assert plugins.find(kind, own.name, ["lab.parts"]) == own
        assert entry(kind, own.full) == own == plugins.find(kind, own.full)
        assert own.full == f"lab.parts.{own.name}"
        with pytest.raises(UserError, match=f"unknown {kind} '{own.name}'"):
            plugins.find(kind, own.name)
    assert "lab" not in sys.modules
    assert entries("task", ("lab.parts",)) == entries("task")


def test_what_its_class_says_is_known(written):
    written({"lab.parts": PARTS})
    facts = {e.kind: e.facts for e in brought("lab.parts")}
    assert facts["metric"] == {"tasks": ("classification",), "better": "min", "share": False}
    assert facts["condition"] == {"takes": (), "largest": 3.0}
    assert (facts["fusion"]["reads"], facts["encoder"]["takes"]) == ("tokens", ("vector",))


def test_a_name_that_exists_already_is_refused(written):
    written({"lab.one": CONCAT, "lab.two": PRODUCT, "lab.three": PRODUCT})
    with pytest.raises(
        UserError, match=r"'lab.one' brings fusion 'concat', which exists already \(one of the"
    ):
        plugins.find("fusion", "sum", ["lab.one"])
    with pytest.raises(
        UserError, match=r"brings fusion 'product', which exists already \(in lab.two\); rename"
    ):
        plugins.find("fusion", "sum", ["lab.two", "lab.three"])
    assert entry("fusion", "lab.one.concat").attribute == "Concat"


def test_the_nearest_name_may_be_one_of_a_plugin_or_a_distribution(written, installs):
    written({"lab.one": PRODUCT, "lab.two": PRODUCT.replace("Product", "Bilinear")})
    installs({"the-lab": "lab.two"})
    with pytest.raises(UserError, match="unknown fusion 'prodct'; did you mean 'product'") as told:
        plugins.find("fusion", "prodct", ["lab.one"])
    assert "bilinear" in str(told.value)
    with pytest.raises(UserError, match=r"unknown fusion 'lab.one.prodct'; did you mean 'lab.one.product'"):
        plugins.find("fusion", "lab.one.prodct")


def test_distributions_bring_parts_that_say_where_they_are_from(written, installs):
    written({"lab.two": PRODUCT})
    installs({"the-lab": "lab.two"})
    assert [e.full for e in plugins.installed("fusion")] == ["lab.two.product"]
    assert plugins.installed("encoder") == []
    found = plugins.find("fusion", "product")
    assert plugins.origin(found) == "the-lab (lab.two)"
    assert plugins.find("fusion", "product", ["lab.two"]) == found  # named and installed is no clash
    assert plugins.origin(entry("fusion", "sum")) == ""
    assert "product" not in entries("fusion")
    assert "lab" not in sys.modules


def test_a_distribution_that_takes_a_name_is_refused_where_the_name_is_used_alone(written, installs):
    written({"lab.one": CONCAT, "lab.two": PRODUCT, "lab.three": PRODUCT})
    installs({"a": "lab.one", "b": "lab.two", "c": "lab.three"})
    assert plugins.find("fusion", "sum").full == "sum"
    with pytest.raises(
        UserError, match=r"'concat' is there twice: the project's own and a .lab.one.; rename one, or"
    ):
        plugins.find("fusion", "concat")
    with pytest.raises(
        UserError, match=r"'product' is there twice: .*, or write lab\.\w+\.product or lab\.\w+\.prod"
    ):
        plugins.find("fusion", "product")
    assert plugins.find("fusion", "lab.three.product").full == "lab.three.product"


@pytest.mark.parametrize(
    ("module", "text", "sentence"),
    [
        ("lab.absent", "", "distribution 'the-lab': plugin 'lab.absent' cannot be imported"),
        ("lab.two", "class Wrong(:", "distribution 'the-lab': module 'lab.two' is not valid Python"),
        (
            "lab.two",
            "x = 1",
            "distribution 'the-lab': plugin 'lab.two' defines nothing that a study can name",
        ),
    ],
)
def test_a_distribution_that_cannot_be_read_is_told(written, installs, module, text, sentence):
    written({"lab.two": text})
    installs({"the-lab": module})
    with pytest.raises(UserError, match=sentence):
        plugins.find("fusion", "sum")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "def load(*, root=None, a: int = 1): ...\ndef files(*, root=None, **o): ...",
            "without `inputs`; define inputs",
        ),
        (
            "def load(*, root=None, a: int = 1): ...\ndef files(*, a): ...\ndef inputs(**o): ...",
            r"birds.py:2\): files does not take 'root'; a dataset's functions take `root` and all options",
        ),
        (
            "def load(path: str, *, root=None): ...\ndef files(**o): ...\ndef inputs(**o): ...",
            r"birds.py:1\): argument 'path' of load may be given by its place; .* put `\*,` before it",
        ),
    ],
)
def test_a_dataset_without_what_it_needs_is_told(written, text, sentence):
    written({"birds": text})
    with pytest.raises(UserError, match=sentence):
        brought("birds")


def test_of_every_kind_the_code_counts(written):
    written({"lab.parts": PARTS})
    for kind in (*OPEN, "dataset"):
        (name,) = (e.full for e in brought("lab.parts") if e.kind == kind)
        written({"lab.parts": PARTS})
        before = code_digest([entry(kind, name)])
        written({"lab.parts": PARTS + "\n    x = 1\n"})
        assert code_digest([entry(kind, name)]) != before
