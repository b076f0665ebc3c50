"""What can be named: classes and their hyper-parameters read from source, those of plugins included."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
from annotated_types import Gt

from sweeper.models.data import dataset, targets
from sweeper.models.errors import UserError
from sweeper.models.method import Method
from sweeper.models.schema import entries as registry
from sweeper.models.schema import ranges, sources
from sweeper.models.schema.parameters import REQUIRED
from sweeper.models.schema.sources import source_of
from sweeper.models.tasks.base import Task
from sweeper.models.training.build import build_method
from tests.models.cases import synthetic

PLUGIN = """
    from sweeper.models.method import Method

    class Mine(Method):
        '''Joint training with a factor that does nothing.'''

        def __init__(self, net, task, *, factor: float = 0.5) -> None:
            super().__init__(net, task)
"""


def of(*plugins):
    """The methods that plugins bring."""
    own = registry.entries("method")
    return {name: e for name, e in registry.entries("method", plugins).items() if name not in own}


def only(*plugins):
    (found,) = of(*plugins).values()
    return found


def types(entry):
    return {name: parameter.type for name, parameter in entry.parameters.items()}


# the project's own


@pytest.mark.parametrize("kind", registry.KINDS)
def test_entries_are_what_importing_gives(kind):
    found = registry.entries(kind)
    assert found
    for name, entry in found.items():
        loaded = entry.load()
        assert (entry.kind, entry.name) == (kind, name)
        assert sys.modules[entry.source.module].__file__ == str(entry.source.path)
        assert not entry.attribute.startswith("_")
        assert entry.doc
        hints = {p for p, v in loaded.__kwdefaults__.items()} if kind == "dataset" else set()
        assert hints <= {*entry.parameters, *entry.given}
        for fact, value in entry.facts.items():
            assert getattr(loaded, fact) == value


def test_the_modules_of_bases_bring_no_entry():
    for kind, (_, module, base) in registry.BASES.items():
        assert source_of(module).definitions[base]
        assert {entry.source.module for entry in registry.entries(kind).values()}.isdisjoint({module})
    assert not {"projected", "image_encoder", "encoder"} & set(registry.entries("encoder"))


def test_private_classes_are_no_entries_but_their_subclasses_have_what_they_say():
    known = registry.entries("encoder")
    assert {"resnet18", "resnet34", "resnet50"} <= set(known)
    assert not any("_resnet" in name for name in known)
    for name in ("resnet18", "resnet50"):
        assert types(known[name]) == {"width": ranges.Count, "weights": Path | None}
        assert known[name].facts["reads"] == ("pooled", "tokens", "maps", "stages")
        assert known[name].facts["takes"] == ("image", "video")
    assert known["resnet18"].doc == "ResNet-18; features (B, 8·width) ≥ 0."


def test_a_class_is_named_in_snake_case_and_a_dataset_by_its_file():
    assert registry.entry("method", "label_smoothing").attribute == "LabelSmoothing"
    assert registry.entry("augmentation", "frequency_mask").attribute == "FrequencyMask"
    assert registry.entry("dataset", "fsdd").attribute == "load"


def test_ranges_and_aliases_are_those_of_the_modules_they_are_imported_from():
    lfm = types(registry.entry("method", "lfm"))
    assert lfm["tau"] == ranges.Positive
    assert lfm["solver"] == Literal["identity", "neumann", "cg", "finite_difference", "released"]
    assert types(registry.entry("dataset", "arrays"))["kinds"] == dict[str, dataset.InputKind] | None
    assert types(registry.entry("encoder", "mlp"))["layers"] == ranges.Whole


def test_facts_are_the_nearest_classs_and_the_bases_where_none_is():
    joint, udml = registry.entry("method", "joint").facts, registry.entry("method", "udml").facts
    assert joint["fuses"] is True
    assert joint["modalities"] == (1, None)
    assert udml["modalities"] == (2, None)
    assert udml["reads"] == ("pooled",)
    assert registry.entry("fusion", "decoder").facts == {"tasks": ("segmentation",), "reads": "maps"}


def test_what_a_caller_gives_is_no_hyper_parameter():
    decoder, digits = registry.entry("fusion", "decoder"), registry.entry("dataset", "digits")
    assert (decoder.given, set(decoder.parameters)) == ({"size"}, {"hidden"})
    assert digits.given == {"root"}
    assert registry.entry("dataset", "fsdd").given == {"root", "cache"}
    with pytest.raises(UserError, match="unknown hyper-parameter 'size' in fusion 'decoder'"):
        decoder.check({"size": [1, 2]})


def test_an_entry_is_built_of_checked_options_and_what_the_caller_gives():
    named = {"name": "decoder", "hidden": 5}
    found = registry.entry("fusion", "decoder").build(named, {"m": 3}, 4, size=(2, 2))
    assert (found.mix.out_channels, found.size, found.n_outputs) == (5, (2, 2), 4)
    with pytest.raises(UserError, match="fusion 'decoder': hidden is 0"):
        registry.entry("fusion", "decoder").build({"name": "decoder", "hidden": 0}, {"m": 3}, 4, size=(2, 2))


def test_unknown_missing_and_unfit_options_are_told():
    arrays, lstm = registry.entry("dataset", "arrays"), registry.entry("fusion", "lstm")
    with pytest.raises(UserError, match=r"dataset 'arrays' needs 'path' \(a path\); it has no default"):
        arrays.check({})
    assert arrays.parameters["path"].default is REQUIRED
    assert "path" not in arrays.defaults()
    with pytest.raises(
        UserError, match="unknown hyper-parameter 'layer' in fusion 'lstm'; did you mean 'layers'"
    ):
        lstm.check({"layer": 2})
    with pytest.raises(
        UserError, match=r"fusion 'lstm': hidden is 'a'; admissible: a whole number from 1 \| null"
    ):
        lstm.check({"hidden": "a"})
    with pytest.raises(UserError, match="unknown fusion 'concatt'; did you mean 'concat'"):
        registry.entry("fusion", "concatt")


def test_methods_say_how_many_modalities_and_which_tasks_they_take():
    lfm = registry.entry("method", "lfm")
    lfm.check_modalities(["a", "b"], "mine")
    with pytest.raises(UserError) as told:
        lfm.check_modalities(["a"], "mine")
    assert str(told.value) == "method 'lfm' needs at least 2 modalities; dataset 'mine' has 1 (a)"
    with pytest.raises(
        UserError, match="method 'rw' supports classification; dataset 'mine' poses regression"
    ):
        registry.entry("method", "rw").check_task("regression", "mine")


def test_reading_entries_imports_neither_torch_nor_any_of_them():
    script = (
        "import sys\n"
        "from sweeper.models.schema import entries as registry\n"
        "for kind in registry.KINDS:\n"
        "    for name, entry in registry.entries(kind).items():\n"
        "        [p.admissible for p in entry.parameters.values()]\n"
        "print({'torch', 'transformers', 'sklearn', 'librosa', 'sweeper.models.encoders.mlp'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# plugins


def test_a_plugin_brings_a_method_that_is_named_checked_and_built(written):
    written({"mine.method": PLUGIN})
    found = only("mine.method")
    assert (found.name, found.attribute, found.source.module) == ("mine", "Mine", "mine.method")
    assert found.doc == "Joint training with a factor that does nothing."
    assert found.defaults() == {"factor": 0.5}
    assert found.facts == {name: getattr(Method, name) for name in found.facts}
    assert {"tasks", "modalities", "fuses", "reads", "held_out"} <= set(found.facts)
    built = build_method(synthetic().spec, {}, {"name": "concat"}, {"name": "mine.method.mine"}, 0)
    assert isinstance(built, Method)
    with pytest.raises(UserError, match="unknown method 'mine'"):
        registry.entry("method", "mine")


def test_a_plugin_may_be_one_file_and_bring_several_methods(written):
    written(
        {
            "toolbox": """
                from sweeper.models.method import Method
                from sweeper.models.methods.ogm import Ogm

                class _Shared(Method):
                    def __init__(self, net, task, *, rate: float = 0.1):
                        super().__init__(net, task)

                class FirstOne(_Shared):
                    '''One.'''

                class SecondOne(_Shared):
                    '''Two.'''
                    tasks = ("regression",)

                class Tuned(Ogm):
                    '''Three.'''

                class Helper:
                    '''No method.'''
            """
        }
    )
    found = of("toolbox")
    assert list(found) == ["first_one", "second_one", "tuned"]
    assert types(found["first_one"]) == types(found["second_one"]) == {"rate": float}
    assert found["second_one"].facts["tasks"] == ("regression",)
    assert found["first_one"].facts["tasks"] == ("classification",)
    assert types(found["tuned"]) == types(registry.entry("method", "ogm"))


def test_a_base_may_stand_in_another_module_of_the_package(written):
    written(
        {
            "lab.bases.shared": """
                from sweeper.models.method import Method
                from ..constants import RATES, START

                class Shared(Method):
                    modalities = (2, 3)
                    fuses = False

                    def __init__(self, net, task, *, rate: RATES = START):
                        super().__init__(net, task)
            """,
            "lab.constants": """
                from typing import Literal
                RATES = Literal["low", "high"]
                START = "low"
            """,
            "lab.bases": "from .shared import Shared as Renamed",
            "lab.method": """
                from lab.bases import Renamed

                class Mine(Renamed):
                    '''A method whose base is imported twice over.'''
            """,
        }
    )
    found = only("lab.method")
    assert types(found) == {"rate": Literal["low", "high"]}
    assert found.defaults() == {"rate": "low"}
    assert (found.facts["modalities"], found.facts["fuses"]) == ((2, 3), False)


@pytest.mark.parametrize(
    ("line", "base"),
    [
        ("from sweeper.models.method import Method", "Method"),
        ("from sweeper.models.method import Method as M", "M"),
        ("from sweeper.models import method", "method.Method"),
        ("from sweeper.models import method as m", "m.Method"),
        ("import sweeper.models.method", "sweeper.models.method.Method"),
        ("import sweeper.models.method as m", "m.Method"),
        ("from sweeper.models.methods import joint", "joint.Joint"),
    ],
)
def test_a_base_is_found_however_it_is_imported(written, line, base):
    written({"mine": f"{line}\n\nclass Mine({base}):\n    '''A method.'''\n"})
    assert only("mine").name == "mine"


def test_options_are_passed_on_as_python_passes_them(written):
    written(
        {
            "mine": """
                from sweeper.models.method import Method

                class Base(Method):
                    def __init__(self, net, task, *, low: int = 1, both: int = 1):
                        super().__init__(net, task)

                class Open(Base):
                    def __init__(self, net, task, *, high: int = 2, both: float = 2.0, **options):
                        super().__init__(net, task, **options)

                class Closed(Base):
                    def __init__(self, net, task, *, high: int = 2):
                        super().__init__(net, task)

                class Plain(Open):
                    pass
            """
        }
    )
    found = of("mine")
    assert found["open"].defaults() == {"high": 2, "both": 2.0, "low": 1}
    assert types(found["open"])["both"] is float
    assert found["closed"].defaults() == {"high": 2}
    assert found["plain"].defaults() == found["open"].defaults()
    built = found["open"].load()
    assert "low" in built.__mro__[1].__init__.__kwdefaults__


def test_of_several_bases_each_adds_its_own_in_the_order_of_python(written):
    written(
        {
            "mine": """
                from sweeper.models.method import Method

                class Left(Method):
                    held_out = 0.25
                    def __init__(self, net, task, *, left: int = 1, same: int = 1, **options):
                        super().__init__(net, task, **options)

                class Right(Method):
                    fuses = False
                    held_out = 0.5
                    def __init__(self, net, task, *, right: int = 2, same: int = 2, **options):
                        super().__init__(net, task, **options)

                class Both(Left, Right):
                    '''Two helpers.'''
            """
        }
    )
    both = of("mine")["both"]
    assert both.defaults() == {"left": 1, "same": 1, "right": 2}
    assert (both.facts["held_out"], both.facts["fuses"]) == (0.25, False)
    loaded = both.load()
    assert [c.__name__ for c in loaded.__mro__[:4]] == ["Both", "Left", "Right", "Method"]
    assert (loaded.held_out, loaded.fuses) == (0.25, False)


def test_types_and_defaults_may_be_names_of_constants_and_of_light_libraries(written):
    written(
        {
            "mine": """
                import math
                from math import pi
                from pathlib import Path
                from typing import Annotated, Literal, Optional, Union

                from annotated_types import Gt

                from sweeper.models.method import Method
                from sweeper.models.schema.ranges import Share as Part

                LARGE = 2 * 10**3
                Choice = Literal["a", "b"]
                Half: float = 1 / 2

                class Mine(Method):
                    '''A method.'''

                    def __init__(
                        self,
                        net,
                        task,
                        *,
                        size: Annotated[int, Gt(2)] = LARGE,
                        choice: Choice | None = None,
                        share: Part = Half,
                        angle: float = pi,
                        whole: Union[int, Optional[str]] = -1,
                        turn: float = 2 * math.pi,
                        file: Path | None = None,
                        many: list[Choice] = ["a"],
                        quoted: "int" = 3,
                    ):
                        super().__init__(net, task)
            """
        }
    )
    found = only("mine")
    told = types(found)
    assert told["size"] == Annotated[int, Gt(2)]
    assert told["choice"] == Literal["a", "b"] | None
    assert told["share"] == ranges.Share
    assert found.defaults() == {
        "size": 2000,
        "choice": None,
        "share": 0.5,
        "angle": pytest.approx(3.14159, rel=1e-5),
        "whole": -1,
        "turn": pytest.approx(6.28318, rel=1e-5),
        "file": None,
        "many": ["a"],
        "quoted": 3,
    }
    assert found.locations == {"file"}
    assert found.check({"size": 3, "quoted": 4}) == {"size": 3, "quoted": 4}


def test_class_attributes_that_a_base_declares_may_be_expressions(written):
    written(
        {
            "mine": """
                import torch
                from sweeper.models.method import Method
                from .parts import ALL

                KEPT = (torch.nn.Linear, torch.nn.ReLU)

                class Mine(Method):
                    '''A method.'''
                    held_out = 1 / 8
                    tasks = ALL
                    layers = (torch.nn.Linear, torch.nn.ReLU)
                    words = ("a", "b")
            """.replace(".parts", "parts"),
            "parts": "ALL = ('regression', 'multilabel')",
        }
    )
    facts = only("mine").facts
    assert (facts["held_out"], facts["tasks"], facts["words"]) == (
        0.125,
        ("regression", "multilabel"),
        ("a", "b"),
    )
    assert "layers" not in facts


def test_any_name_is_a_methods_own_hyper_parameter(written):
    text = PLUGIN.replace(
        "factor: float = 0.5", "size: int = 3, stages: int = 2, cache: bool = True, root: str = 'a'"
    )
    written({"mine": text})
    assert set(only("mine").parameters) == {"size", "stages", "cache", "root"}


def changed(old, new):
    """The plugin with a change that spoils it."""
    assert old in PLUGIN
    return {"mine": PLUGIN.replace(old, new)}


@pytest.mark.parametrize(
    ("modules", "plugin", "sentence"),
    [
        ({}, "absent.method", "plugin 'absent.method' cannot be imported; give a module on PYTHONPATH"),
        ({"mine": ""}, "mine.absent", "plugin 'mine.absent' cannot be imported"),
        (
            {"mine": "x = 1"},
            "mine",
            r"plugin 'mine' defines nothing that a study can name \(a subclass of Method, ",
        ),
        ({"mine": "class Method: pass\nclass Mine(Method): pass"}, "mine", "defines nothing that a study"),
        ({"mine": "class Mine(:"}, "mine", "module 'mine' is not valid Python: .* in line 1"),
        (changed("Mine", "Joint"), "mine", "plugin 'mine' brings method 'joint', which exists already"),
        (
            changed(": float", ""),
            "mine",
            r"module 'mine' \(.*mine.py:\d+\): argument 'factor' of __init__ has no type; annotate",
        ),
        (
            changed("float", "Unknown"),
            "mine",
            r"module 'mine' \(.*\): 'Unknown' cannot be read without running",
        ),
        (changed("0.5", "compute()"), "mine", r"'compute\(\)' cannot be read .* write types and defaults as"),
        (changed("float", "torch.dtype"), "mine", "'torch.dtype' cannot be read without running"),
        (
            changed("def __init__", "tasks = some()\n\n        def __init__"),
            "mine",
            r"'some\(\)' cannot be read",
        ),
    ],
)
def test_a_plugin_that_cannot_be_read_is_told_in_a_sentence(written, modules, plugin, sentence):
    written(modules)
    with pytest.raises(UserError, match=sentence) as told:
        of(plugin)
    assert "\n" not in str(told.value)


def test_two_plugins_may_not_bring_one_name(written):
    written({"one": PLUGIN, "two": PLUGIN})
    assert set(of("one")) == {"mine"}
    with pytest.raises(
        UserError,
        match=r"plugin 'two' brings method 'mine', which exists already \(in one\); rename its class",
    ):
        of("one", "two")


def test_plugins_bring_methods_alone(written):
    written({"mine": PLUGIN})
    for kind in set(registry.KINDS) - {"method"}:
        assert registry.entries(kind, ("mine",)) == registry.entries(kind)


def test_nothing_of_a_plugin_is_run_to_read_it(written):
    written({"mine": f"raise RuntimeError('run')\n{PLUGIN}".replace("\n    ", "\n")})
    assert only("mine").defaults() == {"factor": 0.5}
    assert "mine" not in sys.modules


# sources


def test_installed_packages_and_the_standard_library_are_strangers():
    for module in ("numpy", "torch.nn", "json", "email.message", "sweeper", "sweeper.bridge", "absent", ""):
        assert source_of(module) is None
    assert source_of("sweeper.models.method").path == sources.HOME / "method.py"
    assert source_of("sweeper.models.schema").path == sources.HOME / "schema" / "__init__.py"
    assert source_of("sweeper.models.absent") is None
    assert source_of("annotated_types", "annotated_types").path.suffix == ".py"  # a plugin that is installed


def test_bases_are_the_classes_that_they_are(written):
    assert registry.BASES["method"][1:] == (Method.__module__, Method.__name__)
    assert registry.BASES["task"][1:] == (Task.__module__, Task.__name__)
    written({"other": "class Method: pass\nclass Mine(Method): pass"})
    (_, mine) = source_of("other").classes()
    assert mine.is_a("other", "Method")
    assert not mine.is_a("sweeper.models.method", "Method")
    assert not next(source_of("sweeper.models.method").classes()).is_a("sweeper.models.method", "Method")


def test_imports_are_all_but_those_for_type_checking(written):
    written(
        {
            "lab.deep.module": """
                from __future__ import annotations
                import typing
                from typing import TYPE_CHECKING
                import json as j, lab.other
                from . import beside
                from .. import above as higher
                from ..further.away import thing
                if TYPE_CHECKING:
                    import for_types
                elif j:
                    import for_elif
                else:
                    import otherwise
                if typing.TYPE_CHECKING:
                    from lab import types_too

                def later():
                    import lazy
                    class Inner:
                        from lab import inside
                try:
                    import maybe
                except ImportError:
                    maybe = None
            """
        }
    )
    found = source_of("lab.deep.module").imports
    assert {"json", "lab.other", "lab.deep.beside", "lab.above", "lab.further.away"} <= found
    assert {"lazy", "lab.inside", "maybe", "otherwise", "for_elif"} <= found
    assert not {"for_types", "lab.types_too"} & found


def test_relative_imports_of_a_package_start_at_itself(written):
    written({"lab.part.inner": "a = 1", "lab.part": "from .inner import a\nfrom .. import top"})
    assert source_of("lab.part").path.name == "__init__.py"
    assert source_of("lab.part").imports == {"lab.part.inner", "lab.part.inner.a", "lab", "lab.top"}


def test_targets_are_not_read_as_datasets():
    assert targets.__name__ not in {e.source.module for e in registry.entries("dataset").values()}
