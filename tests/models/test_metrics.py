import subprocess
import sys

import numpy as np
import pytest

from models import metrics
from models.errors import UserError

GOLDEN = np.array([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.3, 0.3, 0.4], [0.2, 0.6, 0.2]])
LABELS = np.array([0, 1, 2, 0])


def score(probabilities, target):
    return metrics.classification(np.asarray(probabilities, dtype=np.float32), np.asarray(target))


def test_map_equals_the_published_function():
    assert score(GOLDEN, LABELS)["map"] == pytest.approx(0.75)


def test_accuracy_and_f1_equal_hand_computation():
    # predicted 0 1 2 1: class F1 are 2/3 (precision 1, recall 1/2), 2/3 (1/2, 1), 1
    found = score(GOLDEN, LABELS)
    assert found["accuracy"] == metrics.accuracy(GOLDEN, LABELS) == 0.75
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert found["weighted_f1"] == pytest.approx((2 * 2 / 3 + 2 / 3 + 1) / 4)


def test_a_perfect_prediction_scores_one_everywhere():
    assert set(score(np.eye(4), range(4)).values()) == {1.0}


def test_a_class_without_rows_is_left_out_of_map():
    present = score(GOLDEN, [0, 1, 1, 0])
    # class 0 ranks its rows 1 and 4, class 1 ranks its rows 2 and 3: (1 + 2/4) / 2 and (1/2 + 2/3) / 2
    assert present["map"] == pytest.approx(((1 + 2 / 4) / 2 + (1 / 2 + 2 / 3) / 2) / 2)


def test_f1_counts_a_class_that_is_only_predicted_or_only_present_as_zero():
    found = score([[1, 0, 0], [0, 1, 0]], [0, 0])
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["weighted_f1"] == pytest.approx(2 / 3)
    assert score([[1, 0, 0], [1, 0, 0]], [0, 2])["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)


def test_a_class_neither_present_nor_predicted_does_not_count():
    assert score([[1, 0, 0], [0, 1, 0]], [0, 1])["macro_f1"] == 1.0


@pytest.mark.parametrize("target", [[1], [1, 1], [0, 1]], ids=str)
@pytest.mark.parametrize("classes", [2, 3])
def test_small_splits_give_finite_scores_without_warnings(target, classes):
    probabilities = np.full((len(target), classes), 1 / classes)
    for value in score(probabilities, target).values():
        assert isinstance(value, float)
        assert 0 <= value <= 1


def test_tied_scores_do_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(0)
    probabilities, target = rng.integers(1, 4, (40, 3)) / 9, rng.integers(0, 3, 40)
    order = rng.permutation(40)
    assert score(probabilities[order], target[order]) == pytest.approx(score(probabilities, target))


def test_gap_is_best_minus_worst_modality():
    assert metrics.gap({"left": 0.5, "right": 0.9, "top": 0.8}) == pytest.approx(0.4)
    assert metrics.gap({"left": 0.5}) == 0.0


def test_modality_distance_of_known_directions():
    east, north, west = (np.tile(v, (3, 1)) for v in ([2.0, 0.0], [0.0, 0.5], [-1.0, 0.0]))
    assert metrics.modality_distance({"left": east, "right": 7 * east}) == 0.0
    assert metrics.modality_distance({"left": east, "right": west}) == pytest.approx(2.0)
    mean_of_pairs = (2**0.5 + 2.0 + 2**0.5) / 3
    assert metrics.modality_distance({"a": east, "b": north, "c": west}) == pytest.approx(mean_of_pairs)


def test_modality_distance_takes_means_over_rows_after_normalising():
    left = np.array([[4.0, 0.0], [0.0, 1.0]])
    right = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert metrics.modality_distance({"left": left, "right": right}) == pytest.approx(0.5**0.5)


def test_modality_distance_compares_only_features_of_equal_width():
    wide, other, narrow = np.eye(3), -np.eye(3), np.ones((3, 2))
    alone = metrics.modality_distance({"left": wide, "right": other})
    assert metrics.modality_distance({"left": wide, "top": narrow, "right": other}) == alone
    assert metrics.modality_distance({"left": wide, "top": narrow}) is None
    assert metrics.modality_distance({"left": wide}) is None


def test_modality_distance_leaves_rows_of_zeros_out():
    left, right = np.array([[3.0, 0.0], [0.0, 0.0]]), np.array([[0.0, 5.0], [0.0, 5.0]])
    assert metrics.modality_distance({"left": left, "right": right}) == pytest.approx(2**0.5)
    assert metrics.modality_distance({"left": 0 * left, "right": right}) == pytest.approx(1.0)


def test_every_metric_has_a_direction():
    assert set(score(GOLDEN, LABELS)) <= set(metrics.DIRECTIONS)
    assert set(metrics.DIRECTIONS.values()) == {"max", "min"}
    assert {n for n in metrics.DIRECTIONS if metrics.direction(n) == "min"} == {"loss", "gap"}


def test_a_metric_of_one_modality_has_the_direction_of_the_metric():
    assert metrics.direction("accuracy/left") == "max"
    assert metrics.direction("loss/left") == "min"


@pytest.mark.parametrize("name", ["acuracy", "acuracy/left"])
def test_an_unknown_metric_is_refused_with_the_nearest(name):
    with pytest.raises(UserError, match="unknown metric 'acuracy'; did you mean 'accuracy'"):
        metrics.direction(name)


def test_importing_metrics_loads_neither_torch_nor_sklearn():
    code = "import sys, models.metrics; print([m for m in ('torch', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
