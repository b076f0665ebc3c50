"""Features are those of the stored weights, on all test rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sweeper.models.data import load_dataset
from sweeper.models.data.feed import Feed
from sweeper.models.errors import UserError
from sweeper.models.training import checkpoint
from sweeper.models.training.build import build_method
from sweeper.models.training.features import features
from sweeper.models.training.run import Order

DATA = {"train": 32, "validation": 16, "test": 300}
PAYLOAD = {
    "dataset": {"name": "synthetic", **DATA},
    "encoders": {},
    "fusion": {"name": "concat"},
    "method": {"name": "joint"},
    "seed": 3,
}


@pytest.fixture
def dataset():
    return load_dataset("synthetic", DATA)


@pytest.fixture
def method(dataset):
    """A method whose weights are not those that its seed draws."""
    made = build_method(dataset.spec, {}, PAYLOAD["fusion"], PAYLOAD["method"], 3).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(1.5)
    return made


@pytest.mark.parametrize("name", ["best.pt", "checkpoint.pt"])
def test_features_are_those_of_the_stored_weights(dataset, method, tmp_path, name):
    """Of a run that has left there is a checkpoint alone."""
    state = method.state_dict()
    checkpoint.save(tmp_path / name, state if name == "best.pt" else {"method": state})
    found = features(Order(PAYLOAD, tmp_path))
    rows = dataset.rows["test"]
    batch = Feed(dataset, rows).batch(torch.arange(len(rows)))
    with torch.no_grad():
        output = method(batch)
    np.testing.assert_allclose(found.logits, output.fused.numpy(), rtol=1e-4, atol=1e-5)
    for m, z in output.pooled.items():
        np.testing.assert_allclose(found.features[m], z.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.target, dataset.target[rows])
    np.testing.assert_array_equal(found.index, rows)
    assert (list(found.features), found.present) == (["m0", "m1"], {})


def test_rows_that_lack_a_modality_are_told(tmp_path):
    data = {**DATA, "missing": 0.5}
    dataset = load_dataset("synthetic", data)
    made = build_method(dataset.spec, {}, PAYLOAD["fusion"], PAYLOAD["method"], 3)
    checkpoint.save(tmp_path / "best.pt", made.state_dict())
    found = features(Order({**PAYLOAD, "dataset": {"name": "synthetic", **data}}, tmp_path))
    assert found.present
    for m, there in found.present.items():
        np.testing.assert_array_equal(there, dataset.present[m][dataset.rows["test"]])


def test_a_number_has_no_class_to_be_drawn_by(tmp_path):
    payload = {**PAYLOAD, "dataset": {"name": "synthetic", **DATA, "task": "regression"}}
    with pytest.raises(UserError, match="features are drawn by class; dataset 'synthetic' is regression"):
        features(Order(payload, tmp_path))
