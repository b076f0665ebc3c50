"""Grad-CAM: maps are those of the formula, of the stored weights, and what has no maps is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sweeper.models.data import load_dataset
from sweeper.models.data.feed import Feed
from sweeper.models.errors import UserError
from sweeper.models.training import checkpoint
from sweeper.models.training.build import build_method
from sweeper.models.training.gradcam import gradcam
from sweeper.models.training.run import Order

IMAGES = {"name": "synthetic", "kind": "image", "train": 32, "validation": 16, "test": 24}
ENCODER = {"name": "convnet", "width": 4, "layers": 2, "norm": "group"}


@pytest.fixture
def payload() -> dict:
    return {
        "dataset": IMAGES,
        "encoders": {"image": ENCODER},
        "fusion": {"name": "concat"},
        "method": {"name": "joint"},
        "seed": 3,
    }


@pytest.fixture
def method(payload, tmp_path):
    """A method whose weights are not those that its seed draws, stored as a run stores them."""
    dataset = load_dataset("synthetic", {k: v for k, v in IMAGES.items() if k != "name"})
    made = build_method(dataset.spec, payload["encoders"], payload["fusion"], payload["method"], 3)
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(1.5)
    checkpoint.save(tmp_path / "best.pt", made.state_dict())
    return made.eval()


def test_a_map_is_that_of_the_formula(payload, method, tmp_path):
    found = gradcam(Order(payload, tmp_path), "m1", [0, 5, 7])
    dataset = load_dataset("synthetic", {k: v for k, v in IMAGES.items() if k != "name"})
    rows = dataset.rows["test"][[0, 5, 7]]
    batch = Feed(dataset, dataset.rows["test"]).batch(torch.tensor([0, 5, 7]))
    encoder = method.net.encoders["m1"]
    for i in range(3):
        maps = encoder.body(batch.inputs["m1"][i : i + 1]).detach().requires_grad_()
        features = {"m0": method.net.encoders["m0"](batch.inputs["m0"][i : i + 1]), "m1": encoder.end(maps)}
        logits = method.net.fuse(features)[0]
        (slopes,) = torch.autograd.grad(logits[batch.target[i]], maps)
        expected = sum(slopes[0, k].mean() * maps[0, k] for k in range(maps.shape[1])).relu().detach()
        expected = expected / expected.max().clamp_min(1e-12)
        np.testing.assert_allclose(found.maps[i], expected.numpy(), rtol=1e-4, atol=1e-6)
        assert found.predicted[i] == logits.argmax()
    assert found.maps.max() == 1.0
    np.testing.assert_array_equal(found.images, dataset.inputs["m1"][rows])
    np.testing.assert_array_equal(found.target, dataset.target[rows])


@pytest.mark.parametrize(
    ("change", "modality", "rows", "said"),
    [
        ({}, "m1", [24], "there is no test row 24; admissible: 0 to 23"),
        ({}, "m7", [0], "unknown modality 'm7' in the images of 'synthetic'"),
        ({"dataset": {**IMAGES, "kind": "vector"}, "encoders": {}}, "m1", [0], "unknown modality 'm1'"),
        ({"dataset": {**IMAGES, "task": "regression"}}, "m1", [0], "Grad-CAM is for classification"),
        (
            {"encoders": {"image": {**ENCODER, "width": 8}}},
            "m1",
            [0],
            "the stored weights do not fit the net",
        ),
    ],
)
def test_what_has_no_maps_is_refused(payload, method, tmp_path, change, modality, rows, said):
    with pytest.raises(UserError, match=said):
        gradcam(Order({**payload, **change}, tmp_path), modality, rows)


def test_a_run_without_weights_is_refused(payload, tmp_path):
    with pytest.raises(UserError, match="holds no weights; a study keeps them by `checkpoints: best`"):
        gradcam(Order(payload, tmp_path), "m0", [0])
