"""Statistics over seeds in closed form; it imports nothing heavy, so that a report stays fast."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
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


def holm(ps: Sequence[float]) -> list[float]:
    """Return Holm's corrected p-values: below α, all of them together, they are wrong with probability α at most.

    The i-th smallest of m is multiplied by m - i + 1, and made no smaller than those before it (Holm, Scandinavian
    Journal of Statistics 6, 1979).
    """
    corrected, floor = [0.0] * len(ps), 0.0
    for i, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        floor = max(floor, min(1.0, (len(ps) - i) * ps[place]))
        corrected[place] = floor
    return corrected


def wilcoxon(differences: Sequence[float]) -> float:
    """Return the exact two-sided p-value of Wilcoxon's signed-rank test (Biometrics Bulletin 1, 1945).

    Zeros are left out, equal sizes share the mean of their ranks, and each of the 2^n ways to give ranks a sign counts.
    """
    kept = [d for d in differences if not equal(d, 0.0)]
    doubled = [round(2 * rank) for rank in ranks([abs(d) for d in kept], "min")]
    total = sum(doubled)
    ways = [1] + [0] * total  # by the sum of the doubled ranks of positive differences
    for rank in doubled:
        ways = [n + (ways[i - rank] if i >= rank else 0) for i, n in enumerate(ways)]
    positive = sum(rank for rank, d in zip(doubled, kept, strict=True) if d > 0)
    return min(1.0, 2 * sum(ways[: min(positive, total - positive) + 1]) / 2 ** len(kept))


@cache
def t_quantile(p: float, df: int) -> float:
    """Return the value that Student's T with `df` degrees of freedom stays below with probability `p` of at least ½."""
    return _solve(lambda t: 1 - _two_sided(t, df) / 2, p)


def paired_interval(a: Mapping[int, float], b: Mapping[int, float], level: float) -> tuple[float, float]:
    """Return Student's interval of the mean of a_s - b_s over the two or more seeds s that `a` and `b` share."""
    mean, std, n = mean_std([a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())])
    half = t_quantile((1 + level) / 2, n - 1) * std / math.sqrt(n)
    return mean - half, mean + half


@cache
def detectable(n: int, alpha: float, power: float) -> float:
    """Return the difference, in std of the paired differences, that the t-test of n ≥ 2 pairs finds with this `power`.

    That is λ / √n with λ so that |T| exceeds its two-sided critical value with probability `power` when T has the
    noncentral t distribution of n - 1 degrees of freedom and noncentrality λ.
    """
    critical = t_quantile(1 - alpha / 2, n - 1)
    return _solve(lambda shift: _exceeds(critical, n - 1, shift), power) / math.sqrt(n)


def _exceeds(critical: float, df: int, shift: float) -> float:
    """Return P(|T| > critical) of the noncentral T = (Z + shift) / U, U² = χ²/df: Simpson's rule over U."""
    steps, end = 400, 1 + 9 / math.sqrt(df)
    log_scale = math.log(2) + df / 2 * math.log(df / 2) - math.lgamma(df / 2)
    normal, total = NormalDist(), 0.0
    if df == 1:  # else the density at 0 is 0
        total = math.exp(log_scale)
    for i in range(1, steps + 1):
        u = end * i / steps
        density = math.exp(log_scale + (df - 1) * math.log(u) - df * u * u / 2)
        outside = normal.cdf(shift - critical * u) + normal.cdf(-shift - critical * u)
        total += (1 if i == steps else 4 if i % 2 else 2) * density * outside
    return total * end / steps / 3


def _solve(rising: Callable[[float], float], goal: float) -> float:
    """Return where a rising function of x ≥ 0 reaches the goal, to about 1e-13 of it or less."""
    high = 1.0
    while rising(high) < goal:
        high *= 2
    low = 0.0
    for _ in range(45):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < goal else (low, middle)
    return high
