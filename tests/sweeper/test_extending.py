"""What docs/extending.md shows is a package that brings a part of every kind, as plug-ins of a study and installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib

import numpy as np
import pytest
import yaml

from sweeper import ROOT, bridge
from sweeper.models.schema import plugins
from sweeper.models.schema.entries import OPEN, brought
from sweeper.study.schema import parse
from sweeper.study.unfold import unfold
from tests.sweeper import pages

SHOWN = pages.files_of("extending.md")
PARTS = {
    "my_lab.method": ("method", "shrink"),
    "my_lab.encoder": ("encoder", "cosine"),
    "my_lab.fusion": ("fusion", "product"),
    "my_lab.circles": ("dataset", "circles"),
    "my_lab.augmentation": ("augmentation", "louder"),
    "my_lab.reader": ("reader", "letters"),
    "my_lab.metric": ("metric", "balanced_accuracy"),
    "my_lab.noise": ("condition", "fade"),
}


@pytest.fixture
def study():
    return yaml.safe_load(SHOWN["study.yaml"])


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """The package in a folder on the path."""
    folder = pages.write("extending.md", tmp_path / "lab")
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def installed(beside, monkeypatch):
    """The package as an installed distribution, its metadata as an installer writes them."""
    project = tomllib.loads(SHOWN["pyproject.toml"])["project"]
    about = beside / "my_lab-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1\n")
    points = project["entry-points"][plugins.GROUP].items()
    (about / "entry_points.txt").write_text(
        f"[{plugins.GROUP}]\n" + "".join(f"{k} = {v}\n" for k, v in points)
    )
    plugins.distributed.cache_clear()
    yield beside
    monkeypatch.undo()
    plugins.distributed.cache_clear()


def test_there_is_an_example_of_every_kind(beside, study):
    found = {module: [(e.kind, e.name) for e in brought(module)] for module in PARTS}
    assert found == {module: [part] for module, part in PARTS.items()}
    assert {kind for kind, _ in PARTS.values()} == {*OPEN, "dataset"}
    assert {*study["plugins"]} == {*PARTS} - {"my_lab.reader"}
    offered = tomllib.loads(SHOWN["pyproject.toml"])["project"]["entry-points"][plugins.GROUP]
    assert {*offered.values()} == {*PARTS}


def test_the_study_is_planned_with_its_plugins_and_without_them_where_they_are_installed(installed, study):
    named = unfold(parse(study))
    assert [arm.axes["method"] for arm in named] == ["joint", "shrink"]
    full = unfold(parse({k: v for k, v in study.items() if k != "plugins"}))
    assert [arm.payload({}, "final", 0) for arm in full] == [arm.payload({}, "final", 0) for arm in named]
    payload = named[1].payload({}, "final", 0)
    assert payload["method"]["name"] == "my_lab.method.shrink"
    assert payload["encoders"]["point"] == {"name": "my_lab.encoder.cosine", "dim": 64, "scale": 0.5}
    assert payload["augment"] == {"distance": [{"name": "my_lab.augmentation.louder", "range": 0.2}]}
    assert payload["conditions"] == ["clean", "my_lab.noise.fade-5"]
    assert payload["metric"] == "my_lab.metric.balanced_accuracy"
    assert named[1].axes["dataset"] == "circles"
    # what planning needs of classes is read; a dataset says itself what it holds
    assert {m for m in sys.modules if m.startswith("my_lab.")} == {"my_lab.circles"}


def test_the_commands_list_what_is_installed_and_say_where_it_is_from(installed, here):
    for command, (kind, name) in (("methods", PARTS["my_lab.method"]), ("datasets", PARTS["my_lab.circles"])):
        listed, shown = here(command), here(command, name)
        assert (listed.code, shown.code) == (0, 0)
        said = " ".join(listed.out.split())
        assert f"(from my-lab (my_lab.{'method' if kind == 'method' else name}))" in said
        assert "from my-lab (my_lab." in shown.out
    for command, (kind, name) in (
        ("conditions", PARTS["my_lab.noise"]),
        ("metrics", PARTS["my_lab.metric"]),
    ):
        assert "(from my-lab (my_lab." in here(command).out, kind
        assert here(command, name).out.startswith(f"{name}\n===")
        assert name in [one["name"] for one in json.loads(here(command, "--json").out)], kind
    told = here("fusions", "prodct")
    assert (told.code, "did you mean 'product'" in told.err) == (2, True)
    assert not [m for m in sys.modules if m.startswith("my_lab")]


def test_the_reader_reads_a_table(beside):
    notes = [f"{word},{word},{i % 2}" for i, word in enumerate(("Abba", "bcd", "zoo", "day") * 8)]
    (beside / "notes.csv").write_text("note,text,label\n" + "\n".join(notes) + "\n")
    options = {"path": str(beside / "notes.csv"), "columns": {"note": "my_lab.reader.letters"}}
    assert bridge.inputs("table", options) == {"note": bridge.InputSpec("vector", (26,))}
    before = bridge.fingerprint("table", options)
    dataset = bridge.load_dataset("table", options, cache=beside)
    assert np.array(dataset.inputs["note"][0])[:3].tolist() == [2, 2, 0]
    reader = beside / "my_lab" / "reader.py"
    reader.write_text(reader.read_text().replace("minlength=26", "minlength=26 + 0"))
    assert bridge.fingerprint("table", options) != before


def test_the_study_is_carried_out_with_its_plugins(beside, study, here, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({**study, "final": {"seeds": [100]}, "search": {"configurations": 1}}))
    told = here("run", file)
    assert (told.code, len(told.runs)) == (0, 2)
    assert "my_lab.noise.fade-5 / my_lab.metric.balanced_accuracy" in told.table[0]
    assert here("run", file).runs == []


@pytest.mark.slow
def test_an_installed_distribution_is_used_by_the_workers_of_a_sweep(tmp_path, study):
    lab = pages.write("extending.md", tmp_path / "lab")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", tmp_path / "site"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, lab], check=True, timeout=120)
    file = tmp_path / "study.yaml"
    brief = {"search": {"configurations": 1, "seeds": [0]}, "final": {"seeds": [100]}, "methods": ["shrink"]}
    file.write_text(yaml.safe_dump({k: v for k, v in {**study, **brief}.items() if k != "plugins"}))
    paths = {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path / 'site'}",
        "SWEEPER_STORAGE": str(tmp_path / "store"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "sweeper.cli", "run", str(file)],
        cwd=tmp_path,
        env={**os.environ, **paths},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "| shrink |" in done.stdout
