"""Oracles, correlation, rejection, risk–coverage and calibration: by hand and by their definitions."""

from itertools import permutations

import numpy as np
import pytest

from sweeper.models.maths.reliability import (
    aurc,
    calibration_error,
    correlation,
    oracles,
    reject,
    risk_coverage,
)

CORRECT = np.array([[1, 1, 0, 0], [1, 0, 1, 0]], bool)  # (M 2, N 4)


def test_oracles_are_any_and_every_modality():
    assert oracles(CORRECT) == (0.75, 0.25)


def test_oracles_leave_out_who_is_absent():
    present = np.array([[1, 1, 0, 1], [1, 0, 1, 1]], bool)
    assert oracles(CORRECT, present) == (0.75, 0.75)
    assert oracles(CORRECT[:1], present[:1]) == (0.5, 0.75)


def test_fusion_can_beat_the_oracle():
    logits, target = np.array([[[1, 0.9, 0]], [[0, 0.9, 1]]]), np.array([1])
    assert oracles(logits.argmax(-1) == target) == (0.0, 0.0)
    assert logits.sum(0).argmax(-1) == target


def test_correlation_is_pearsons_over_all_pairs():
    score = np.array([[0.9, 0.8, 0.3, 0.1], [0.7, 0.4, 0.6, 0.2]])
    expected = np.corrcoef(score.ravel(), CORRECT.ravel())[0, 1]
    assert correlation(score, CORRECT) == pytest.approx(expected)
    assert correlation(1 - score, CORRECT) == pytest.approx(-expected)
    assert correlation(CORRECT, CORRECT) == pytest.approx(1.0)


def test_correlation_leaves_out_who_is_absent_and_is_undefined_for_a_constant():
    present = np.array([[1, 1, 1, 0], [0, 1, 1, 1]], bool)
    score = np.arange(8.0).reshape(2, 4)
    expected = np.corrcoef(score[present], CORRECT[present])[0, 1]
    assert correlation(score, CORRECT, present) == pytest.approx(expected)
    assert np.isnan(correlation(np.ones((2, 4)), CORRECT))


def test_rejection_drops_what_exceeds_the_threshold():
    kept = reject(np.array([0.1, 0.6, 0.61, 0.9]), np.array([1, 0, 0, 1], bool))
    assert kept.rows.tolist() == [True, True, False, False]
    assert (kept.coverage, kept.error) == (0.5, 0.5)
    nothing = reject(np.array([0.7]), np.array([True]))
    assert nothing.coverage == 0
    assert np.isnan(nothing.error)


def test_risk_coverage_by_hand():
    coverage, risk = risk_coverage(np.array([0.3, 0.1, 0.2, 0.4]), np.array([0, 1, 1, 0], bool))
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert aurc(np.array([0.3, 0.1, 0.2, 0.4]), np.array([0, 1, 1, 0], bool)) == pytest.approx(5 / 24)


def test_ties_count_with_the_mean_over_their_orders():
    uncertain, correct = np.array([0.2, 0.2, 0.2, 0.5]), np.array([1, 0, 0, 1], bool)
    curves = []
    for order in permutations(range(3)):
        wrong = ~correct[[*order, 3]]
        curves.append(np.cumsum(wrong) / np.arange(1, 5))
    assert risk_coverage(uncertain, correct)[1] == pytest.approx(np.mean(curves, axis=0))


def test_a_better_ranking_has_a_smaller_area():
    correct = np.array([1, 1, 1, 0, 0], bool)
    rank = np.arange(5.0)
    assert aurc(np.zeros(5), correct) == pytest.approx(0.4)
    assert aurc(rank, correct) < 0.4 < aurc(-rank, correct)


def test_calibration_error_by_hand():
    p = np.array([[0.9, 0.1], [0.92, 0.08], [0.55, 0.45], [0.58, 0.42]])
    target = np.array([0, 1, 0, 0])  # confidences 0.9, 0.92 share a bin, as do 0.55, 0.58
    by_hand = (abs(0.9 + 0.92 - 1) + abs(0.55 + 0.58 - 2)) / 4
    assert calibration_error(p, target) == pytest.approx(by_hand)
    assert calibration_error(p, target, bins=1) == pytest.approx(abs(2.95 - 3) / 4)


def test_bins_contain_their_upper_edge():
    p = np.array([[0.5, 0.5], [0.51, 0.49]])
    separate = (abs(0.5 - 1) + abs(0.51 - 0)) / 2
    assert calibration_error(p, np.array([0, 1]), bins=2) == pytest.approx(separate)


def test_sure_and_right_is_calibrated():
    assert calibration_error(np.eye(3), np.arange(3)) == 0
    assert calibration_error(np.eye(3), np.array([1, 2, 0])) == 1
