import subprocess
import sys

import numpy as np
import pytest

from sweeper.models.errors import UserError
from sweeper.models.maths import metrics

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


@pytest.mark.parametrize("seed", range(8))
def test_scores_of_classes_are_scikit_learns(seed):
    from sklearn.metrics import average_precision_score, f1_score

    rng = np.random.default_rng(seed)
    n, classes = rng.integers(1, 60), rng.integers(2, 7)
    probabilities = rng.integers(0, 5, (n, classes)) / 8  # with ties, and ties of the largest
    target = rng.integers(0, max(1, classes - seed % 3), n)  # some seeds lack classes, or have one alone
    predicted, present = probabilities.argmax(1), np.unique(target)
    found = score(probabilities, target)
    for kind in ("macro", "weighted"):
        assert found[f"{kind}_f1"] == pytest.approx(
            f1_score(target, predicted, average=kind, zero_division=0)
        )
    expected = average_precision_score(target[:, None] == present, probabilities[:, present])
    assert found["map"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scores", "positive"),
    [
        ([0.5, 0.5, 0.5], [1, 0, 0]),
        ([0.1, 0.2, 0.3], [1, 1, 1]),
        ([0.9], [1]),
        ([0.9, 0.1, 0.9, 0.4, 0.4], [0, 1, 1, 0, 1]),
        ([np.inf, 0.0, -np.inf], [0, 1, 0]),
    ],
)
def test_average_precision_is_scikit_learns(scores, positive):
    from sklearn.metrics import average_precision_score

    scores, positive = np.array(scores), np.array(positive, bool)
    judged = average_precision_score(positive, np.clip(scores, -9, 9))
    assert metrics.average_precision(scores, positive) == pytest.approx(judged)


@pytest.mark.parametrize("seed", range(4))
def test_scores_of_labels_are_scikit_learns(seed):
    from sklearn.metrics import f1_score, precision_recall_fscore_support

    rng = np.random.default_rng(seed)
    probabilities, target = rng.random((30, 5)) * [1, 1, 1, 1, 0.4], rng.integers(0, 2, (30, 5))
    target[:, 3] = 0  # one label is never there, the last one never predicted
    predicted = probabilities > 0.5
    found = metrics.multilabel(probabilities, target)
    for kind in ("micro", "macro"):
        assert found[f"{kind}_f1"] == pytest.approx(
            f1_score(target, predicted, average=kind, zero_division=0)
        )
    p, r, _, _ = precision_recall_fscore_support(target, predicted, average="macro", zero_division=0)
    assert found["macro_f1_harmonic"] == pytest.approx(2 * p * r / (p + r))


def test_the_two_macro_f1_by_hand():
    target = np.array([[1, 1], [1, 0], [0, 1], [0, 0]])
    predicted = np.array([[1, 1], [1, 1], [1, 0], [0, 0]]) * 0.9
    # label 0: precision 2/3, recall 1, F1 4/5; label 1: precision 1/2, recall 1/2, F1 1/2
    found = metrics.multilabel(predicted, target)
    assert found["macro_f1"] == pytest.approx((4 / 5 + 1 / 2) / 2)
    assert found["macro_f1_harmonic"] == pytest.approx(2 * (7 / 12) * (3 / 4) / (7 / 12 + 3 / 4))
    assert found["micro_f1"] == pytest.approx(2 * 3 / (5 + 4))


def test_labels_neither_there_nor_predicted_count_as_zero_and_a_half_is_not_predicted():
    nothing = metrics.multilabel(np.full((3, 2), 0.5), np.zeros((3, 2)))
    assert set(nothing.values()) == {0.0}
    assert metrics.multilabel(np.array([[0.51, 0.5]]), np.array([[1, 0]]))["macro_f1"] == 0.5


SENTIMENT = np.array([-3, -2.4, -1.5, -0.5, 0, 0, 0.5, 1.5, 2.6, 3])
ANSWERS = np.array([-3.4, -1.2, -2.5, 0.2, 0.1, -0.1, 0.5, 0.4, 2.4, 1.5])


def test_regression_equals_the_published_functions_numbers():
    found = metrics.regression(ANSWERS, SENTIMENT)
    golden = {
        "mae": 0.63,
        "corr": 0.911,
        "acc7": 0.6,
        "acc5": 0.8,
        "acc2_has0": 0.8,
        "f1_has0": 0.8,
        "acc2_non0": 0.875,
        "f1_non0": 0.873,
    }
    assert found == pytest.approx(golden, abs=5e-4)


def test_regression_agrees_with_scikit_learn_on_both_conventions():
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    y, p = np.round(rng.uniform(-3, 3, 200)), rng.uniform(-3, 3, 200)
    found, left = metrics.regression(p, y), y != 0
    assert found["f1_has0"] == pytest.approx(f1_score(y >= 0, p >= 0, average="weighted"))
    assert found["f1_non0"] == pytest.approx(f1_score(y[left] > 0, p[left] > 0, average="weighted"))
    assert found["acc2_non0"] == pytest.approx(((p > 0) == (y > 0))[left].mean())
    assert found["corr"] == pytest.approx(np.corrcoef(p, y)[0, 1])


def test_a_prediction_of_zero_is_not_negative_with_zeros_and_not_positive_without():
    found = metrics.regression(np.array([0.0, 0.0]), np.array([1.0, -1.0]))
    assert (found["acc2_has0"], found["acc2_non0"]) == (0.5, 0.5)
    found = metrics.regression(np.array([0.0]), np.array([1.0]))
    assert (found["acc2_has0"], found["acc2_non0"]) == (1.0, 0.0)


def test_regression_of_constants_is_defined():
    found = metrics.regression(np.full(7, 0.1, np.float32), np.zeros(7))
    assert found["corr"] == found["acc2_non0"] == found["f1_non0"] == 0.0
    assert found["mae"] == pytest.approx(0.1)


def test_pearson_of_a_constant_is_undefined_whatever_its_mean_rounds_to():
    assert np.isnan(metrics.pearson(np.full(3, 0.1), np.arange(3.0)))
    assert np.isnan(metrics.pearson(np.zeros(0), np.zeros(0)))
    assert metrics.pearson(np.arange(3.0), 5 - np.arange(3.0)) == pytest.approx(-1.0)


def test_segmentation_equals_hand_computation():
    confusion = np.array([[6, 2, 0, 0], [1, 3, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]])
    # intersections over unions: 6/10, 3/6, none of class 2, 0/1
    found = metrics.segmentation(confusion)
    assert found["miou"] == pytest.approx((6 / 10 + 3 / 6 + 0) / 3)
    assert found["pixel_accuracy"] == pytest.approx(9 / 13)
    assert set(metrics.segmentation(np.zeros((3, 3), int)).values()) == {0.0}


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


def test_every_metric_of_a_task_has_a_direction():
    assert set().union(*metrics.OF_TASK.values()) == set(metrics.DIRECTIONS)
    least = {n for n in metrics.DIRECTIONS if metrics.direction(n) == "min"}
    assert least == {"loss", "gap", "mae", "ece", "aurc", "rejected_error"}
    assert set(metrics.DIRECTIONS.values()) == {"max", "min"}


def test_a_metric_that_the_task_lacks_is_refused_with_those_it_has():
    metrics.check_metric("accuracy/left", "classification")
    metrics.check_metric("mae", "regression")
    with pytest.raises(
        UserError, match=r"unknown metric 'accuracy' in regression; .*admissible: acc2_has0, "
    ):
        metrics.check_metric("accuracy", "regression")
    with pytest.raises(UserError, match="unknown metric 'mio' in segmentation; did you mean 'miou'"):
        metrics.check_metric("mio/left", "segmentation")


def test_a_metric_of_one_modality_has_the_direction_of_the_metric():
    assert metrics.direction("accuracy/left") == "max"
    assert metrics.direction("loss/left") == "min"


@pytest.mark.parametrize("name", ["acuracy", "acuracy/left"])
def test_an_unknown_metric_is_refused_with_the_nearest(name):
    with pytest.raises(UserError, match="unknown metric 'acuracy'; did you mean 'accuracy'"):
        metrics.direction(name)


def test_scoring_loads_neither_torch_nor_sklearn():
    code = (
        "import sys, numpy; from sweeper.models.maths import metrics\n"
        "metrics.classification(numpy.eye(2), numpy.arange(2))\n"
        "print([m for m in ('torch', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
