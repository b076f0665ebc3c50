"""Statistics over seeds in closed form; it imports nothing heavy, so that a report stays fast."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping


def mean_std(values: Iterable[float]) -> tuple[float, float | None, int]:
    """Return mean m = Σ v / n, sample standard deviation √(Σ (v - m)² / (n - 1)), and n.

    The deviation has ddof 1, as seeds are a sample of all seeds, and is None for n < 2. Sums are exact, so
    the order of the values does not matter. Raises ValueError for no values: their mean is not a number.
    """
    values = list(values)
    n = len(values)
    if not n:
        raise ValueError("the mean of no values is not defined")
    mean = math.fsum(values) / n
    if n < 2:
        return mean, None, n
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1)), n


def paired_p(a: Mapping[int, float], b: Mapping[int, float]) -> float | None:
    """Return the two-sided p-value of the paired t-test over the seeds that `a` and `b` share.

    With d_s = a_s - b_s over n common seeds, t = mean(d) / (std(d) / √n) has n - 1 degrees of freedom under
    "no difference" (Student, Biometrika 6, 1908). Differences without variance give 1.0 if they are all zero
    and 0.0 otherwise. None for fewer than two common seeds: there is no test.
    """
    differences = [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]
    if len(differences) < 2:
        return None
    mean, std, n = mean_std(differences)
    if not std:
        return 1.0 if mean == 0 else 0.0
    return _two_sided(mean / (std / math.sqrt(n)), n - 1)


def _two_sided(t: float, df: int) -> float:
    """Return P(|T| ≥ |t|) of Student's T with `df` whole degrees of freedom, to about 1e-15 absolute.

    Finite series in θ = atan(|t| / √df): Abramowitz & Stegun, Handbook of Mathematical Functions, 26.7.3
    (odd) and 26.7.4 (even). It stands here because importing SciPy's costs 0.3 to 1 s per report.
    """
    theta = math.atan(abs(t) / math.sqrt(df))
    sin, cos = math.sin(theta), math.cos(theta)
    term, total = (cos, 0.0) if df % 2 else (1.0, 0.0)
    for k in range(2 + df % 2, df + 1, 2):
        total += term
        term *= cos * cos * (k - 1) / k
    inside = 2 / math.pi * (theta + sin * total) if df % 2 else sin * total
    return max(0.0, 1.0 - inside)
