"""What is read is data and never code: no pickle is loaded, no text evaluated, no shell asked, whoever wrote it."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from sweeper.models.data.readers.sound import Sound
from sweeper.models.data.readers.store import stored
from sweeper.models.encoders.resnet import Resnet18
from sweeper.models.errors import UserError
from sweeper.models.training import checkpoint
from sweeper.models.values import InputSpec
from tests.test_layers import SOURCES, imports

UNPICKLING = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "pandas"}
FORBIDDEN = {"eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.full_load", "yaml.unsafe_load"}
# types and defaults of our own code, and of plug-ins that a study names
EVALUATES = {"sweeper.models.schema.sources"}
# pickles that others publish, by an unpickler that finds arrays and containers alone
UNPICKLES = {"sweeper.models.data.pickles"}
# what makes tables of pandas of what was read already, and reads nothing by pandas
FRAMES = {"sweeper.api", "sweeper.reports.frames"}
OF_TEXT = ("AutoConfig", "AutoTokenizer")  # whose files are settings and vocabularies, without weights


def calls(path: Path) -> list[tuple[str, dict[str, str]]]:
    """Return (dotted name, keywords as text) of every call in a file."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [(ast.unparse(n.func), {k.arg or "**": ast.unparse(k.value) for k in n.keywords}) for n in nodes]


def problems(name: str, keywords: dict[str, str]) -> str:
    """Say what is wrong with a call, empty if nothing is."""
    if name in FORBIDDEN or keywords.get("shell", "False") != "False":
        return "runs what it reads"
    if name == "torch.load" and keywords.get("weights_only") != "True":
        return "unpickles"
    if (
        keywords.get("allow_pickle", "False") != "False"
        or keywords.get("trust_remote_code", "False") != "False"
    ):
        return "unpickles"
    if name.endswith("from_pretrained") and keywords.get("trust_remote_code") != "False":
        return "may run code"
    if (
        name.endswith("from_pretrained")
        and not name.startswith(OF_TEXT)
        and keywords.get("use_safetensors") != "True"
    ):
        return "may unpickle"
    return ""


@pytest.mark.parametrize(
    "call",
    [
        "eval(x)",
        "os.system(x)",
        "subprocess.run(x, shell=True)",
        "torch.load(x)",
        "torch.load(x, weights_only=False)",
        "np.load(x, allow_pickle=True)",
        "yaml.load(x, Loader)",
        "Model.from_pretrained(x, trust_remote_code=False)",
        "AutoTokenizer.from_pretrained(x)",
    ],
)
def test_what_is_forbidden_is_seen(call, tmp_path):
    path = tmp_path / "module.py"
    path.write_text(call)
    assert problems(*calls(path)[0])


def test_no_module_unpickles_evaluates_or_asks_a_shell():
    found = {
        f"{m}: {name}" for m, path in SOURCES.items() for name, more in calls(path) if problems(name, more)
    }
    assert found == {f"{module}: eval" for module in EVALUATES}
    unpickling = {m for m, path in SOURCES.items() if {i.split(".")[0] for i in imports(path)} & UNPICKLING}
    assert unpickling == UNPICKLES | FRAMES
    assert [name for m in FRAMES for name, _ in calls(SOURCES[m]) if name.startswith("pd.read")] == []


class Bomb:
    """What leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path):
    """Where a bomb leaves its mark; it has left none when the test ends."""
    path = tmp_path / "mark"
    yield path
    assert not path.exists()


def plain(path: Path, bomb: Bomb) -> None:
    path.write_bytes(pickle.dumps(bomb))


def archived(path: Path, bomb: Bomb) -> None:
    torch.save({"progress": bomb, "method": bomb}, path)


def objects(path: Path, bomb: Bomb) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([bomb], dtype=object), allow_pickle=True)


WAYS = [plain, archived, objects]


@pytest.mark.parametrize("plant", WAYS)
def test_the_bombs_go_off_where_pickles_are_loaded(tmp_path, plant):
    plant(tmp_path / "bomb", Bomb(tmp_path / "gone off"))
    with (tmp_path / "bomb").open("rb") as file:
        if plant is archived:
            torch.load(file, weights_only=False)
        else:
            np.load(file, allow_pickle=True)
    assert (tmp_path / "gone off").exists()


@pytest.mark.parametrize("plant", WAYS)
def test_a_checkpoint_that_is_a_bomb_counts_as_none(tmp_path, mark, plant):
    plant(tmp_path / "best.pt", Bomb(mark))
    assert checkpoint.load(tmp_path / "best.pt") is None


STUDY = {
    "dataset": {"name": "synthetic", "train": 64, "validation": 48, "test": 48},
    "methods": ["joint", "eruw"],
    "search": {"configurations": 1},
    "final": {"seeds": [100]},
    "train": {"epochs": 2},
}


@pytest.mark.parametrize("plant", [plain, archived])
def test_a_study_goes_on_among_bombs(here, study_file, tmp_path, mark, plant):
    """Instead of every array and checkpoint that its runs have left."""
    told = here("run", study_file(**STUDY))
    assert told.code == 0
    store = tmp_path / "store"
    (store / "ledger.jsonl").unlink()
    left = [*store.glob("runs/*/*.npz"), *store.glob("runs/*/*.pt"), *store.glob("trainings/*.pt")]
    assert {path.name for path in left} >= {"best.pt", "predictions.npz"}
    assert any(path.parent.name == "trainings" for path in left)
    for path in left + [folder / "checkpoint.pt" for folder in store.glob("runs/*")]:
        plant(path, Bomb(mark))
    again = here("run", study_file(**STUDY, conditions=["clean", "gaussian-5"]))
    assert again.code == 0
    assert len(again.runs) == len(told.runs)
    assert here("report", "tiny", "--columns", "metric", "condition").code == 0


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"status": "done"}', '{"status": "done", "metrics": 1, "seconds": "x"}']
)
def test_a_study_goes_on_among_results_that_are_none(here, study_file, tmp_path, text):
    told = here("run", study_file(**STUDY))
    (tmp_path / "store" / "ledger.jsonl").unlink()
    for path in (tmp_path / "store").glob("runs/*/result.json"):
        path.write_text(text)
    again = here("run", study_file(**STUDY))
    assert (again.code, len(again.runs), again.table) == (0, len(told.runs), told.table)


def test_samples_that_are_a_bomb_are_refused(tmp_path, mark):
    import soundfile

    sound = tmp_path / "sound.wav"
    soundfile.write(sound, np.sin(np.arange(4000)), 8000)
    stored([(sound,)], Sound(form="wave"), tmp_path / "cache")
    (kept,) = (tmp_path / "cache").glob("*.npy")
    objects(kept, Bomb(mark))
    with pytest.raises(UserError, match="cannot be read"):
        stored([(sound,)], Sound(form="wave"), tmp_path / "cache")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_weights_that_are_a_bomb_are_refused(tmp_path, mark, name):
    weights = tmp_path / "weights"
    from transformers import ResNetConfig

    ResNetConfig().save_pretrained(weights)
    archived(weights / name, Bomb(mark))
    with pytest.raises(UserError, match="are no ResNet"):
        Resnet18(InputSpec("image", (3, 8, 8)), weights=weights)


@pytest.mark.parametrize("name", ["own.npz", "own"])
def test_arrays_that_are_a_bomb_are_refused(here, study_file, tmp_path, mark, name):
    arrays = {"x_a": np.array([Bomb(mark)] * 6, dtype=object), "y": np.tile([0, 1], 3)}
    (tmp_path / "own").mkdir()
    for key, array in arrays.items():
        np.save(tmp_path / "own" / key, array, allow_pickle=True)
    np.savez(tmp_path / "own.npz", **arrays)
    told = here("run", study_file(dataset={"name": "arrays", "path": name}), "--data-root", tmp_path)
    assert told.code == 2
    assert "Python objects" in told.err
