"""Statistics over seeds in closed form; it imports nothing heavy, so that a report stays fast."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import NormalDist


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


def equal(a: float, b: float) -> bool:
    """Say whether two means are the same number up to rounding errors of the sum."""
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)


def ranks(values: Sequence[float], direction: str) -> list[float]:
    """Return the rank of each value, 1 for the best; equal ones share the mean of their ranks."""
    sign = 1 if direction == "min" else -1

    def rank(own: float) -> float:
        same = [equal(own, other) for other in values]
        better = sum(sign * v < sign * own for v, tie in zip(values, same, strict=True) if not tie)
        return better + (sum(same) + 1) / 2

    return [rank(value) for value in values]


def friedman(ranked: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return Friedman's statistic of n rankings of the same k things, corrected for ties, and its p-value.

    (k - 1) Σ_j (R_j - n (k + 1) / 2)² / (Σ_ij r_ij² - n k (k + 1)² / 4), with R_j = Σ_i r_ij, has about the χ²
    distribution with k - 1 degrees of freedom under "no difference" (Friedman, JASA 32, 1937; Conover, Practical
    Nonparametric Statistics). Rankings that are tied throughout give 0 and 1.
    """
    n, k = len(ranked), len(ranked[0])
    between = sum((sum(own) - n * (k + 1) / 2) ** 2 for own in zip(*ranked, strict=True))
    within = sum(rank**2 for row in ranked for rank in row) - n * k * (k + 1) ** 2 / 4
    statistic = (k - 1) * between / within if within else 0.0
    return statistic, _above(statistic, k - 1)


def critical_difference(k: int, n: int, alpha: float) -> float:
    """Return by how much the mean ranks of two of k things over n rankings must differ: Nemenyi's test.

    q √(k (k + 1) / (6 n)), with √2 q the upper `alpha` quantile of the range of k standard normal values (Demšar,
    JMLR 7, 2006, section 3.2.2).
    """
    low, high = 0.0, 20.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if _range_within(middle, k) < 1 - alpha else (low, middle)
    return low / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n))


def _range_within(q: float, k: int) -> float:
    """Return P(range of k standard normal values ≤ q) = k ∫ φ(z) (Φ(z) - Φ(z - q))^(k - 1) dz, z the largest."""
    normal = NormalDist()
    points = [i / 8 for i in range(-64, 65)]  # evenly spaced sums converge exponentially for such a function
    return k / 8 * sum(normal.pdf(z) * (normal.cdf(z) - normal.cdf(z - q)) ** (k - 1) for z in points)


def _above(x: float, df: int) -> float:
    """Return P(X ≥ x) of X with the χ² distribution of `df` whole degrees of freedom.

    Finite series in x / 2: Abramowitz & Stegun 26.4.4 (odd) and 26.4.5 (even).
    """
    odd = df % 2
    steps = [i + odd / 2 for i in range(df // 2)]
    series = sum((x / 2) ** i / math.gamma(i + 1) for i in steps) * math.exp(-x / 2)
    return series + (math.erfc(math.sqrt(x / 2)) if odd else 0.0)
