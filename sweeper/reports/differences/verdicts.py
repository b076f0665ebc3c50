"""What a comparison of two results over the same seeds says: more than whether a test rejects."""

from __future__ import annotations

from collections.abc import Mapping

from sweeper.reports.statistics import mean_std, paired_interval, paired_p

ALPHA = 0.05
LEAST_SEEDS = 5  # of fewer, a test that finds no difference says nothing
MARGIN = 0.01  # a smaller difference is of no interest: one point of a share, one hundredth of another value
BETTER, WORSE, EQUAL, UNCLEAR, UNTESTED = "better", "worse", "equal", "unclear", "untested"

Seeds = Mapping[int, float]


def verdict(one: Seeds, other: Seeds, direction: str, *, share: bool, p: float | None = None) -> str:
    """Return what `one` is against `other` over common seeds, two or more.

    Better or worse if the paired t-test finds a difference, by a p-value corrected for what else is compared where it
    is given. Otherwise equal if the test excludes a difference of MARGIN or more in either direction, that is, the
    interval of 1 - 2 ALPHA lies within it (Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987).
    Otherwise the seeds do not tell; of fewer than LEAST_SEEDS nothing is tested.
    """
    common = sorted(one.keys() & other.keys())
    if len(common) < LEAST_SEEDS:
        return UNTESTED
    own, theirs = (mean_std([values[seed] for seed in common])[0] for values in (one, other))
    if (paired_p(one, other) if p is None else p) < ALPHA:
        return BETTER if (own > theirs) == (direction == "max") else WORSE
    low, high = paired_interval(one, other, 1 - 2 * ALPHA)
    margin = MARGIN if share else MARGIN * abs(theirs)
    return EQUAL if -margin < low and high < margin else UNCLEAR


def span(share: bool) -> str:
    """Return MARGIN in words."""
    return f"{100 * MARGIN:g} point" if share else f"{100 * MARGIN:g} % of its value"
