"""Linear models fitted to convergence, by scikit-learn: what a net should at least reach.

Each fit takes inputs x (N, D), targets y, the number of outputs C and the penalty on squared weights, and returns
weight (C, D) and bias (C,).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

ITERATIONS = 1000
CERTAIN = 30.0  # the logit of what training rows always say

Fitted = tuple[np.ndarray, np.ndarray]


def softmax_regression(x: np.ndarray, y: np.ndarray, outputs: int, penalty: float) -> Fitted:
    """Minimise Σ_i CE_i + `penalty` / 2 |W|² for classes y (N,); one that y lacks is never predicted."""
    weight, bias = np.zeros((outputs, x.shape[1])), np.full(outputs, -CERTAIN)
    found = np.unique(y)
    if len(found) == 1:
        bias[found] = CERTAIN
    elif len(found) == 2:  # scikit-learn gives one logit then, of the second against the first
        model = _logistic(x, y, penalty)
        weight[found[1]], bias[found] = model.coef_[0], [0.0, model.intercept_[0]]
    else:
        model = _logistic(x, y, penalty)
        weight[found], bias[found] = model.coef_, model.intercept_
    return weight, bias


def label_regressions(x: np.ndarray, y: np.ndarray, outputs: int, penalty: float) -> Fitted:
    """Minimise Σ_i BCE_i + `penalty` / 2 |w|² for each label in y (N, L) of 0 and 1."""
    weight, bias = np.zeros((outputs, x.shape[1])), np.where(y.mean(0) > 0.5, CERTAIN, -CERTAIN)
    for label, column in enumerate(y.T):
        if column.min() < column.max():
            model = _logistic(x, column, penalty)
            weight[label], bias[label] = model.coef_[0], model.intercept_[0]
    return weight, bias


def ridge_regression(x: np.ndarray, y: np.ndarray, outputs: int, penalty: float) -> Fitted:
    """Minimise Σ_i (y_i - ŷ_i)² + `penalty` |w|² for numbers y (N,)."""
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=penalty).fit(x, y)
    return model.coef_.reshape(outputs, -1), np.full(outputs, model.intercept_)


def _logistic(x: np.ndarray, y: np.ndarray, penalty: float) -> LogisticRegression:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():  # the optimum is flat where the penalty is small
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=1 / penalty, max_iter=ITERATIONS).fit(x, y)
