"""Comparisons in words and as tables: Markdown for people, CSV for what they compute further."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence

from sweeper.reports.cells import NOTHING
from sweeper.reports.differences.pairs import (
    ALONE,
    LEAST_DATASETS,
    POWER,
    Compared,
    Family,
    Overall,
    Pair,
)
from sweeper.reports.differences.verdicts import (
    ALPHA,
    BETTER,
    EQUAL,
    LEAST_SEEDS,
    UNCLEAR,
    UNTESTED,
    WORSE,
    span,
)
from sweeper.reports.selection import Choice
from sweeper.reports.statistics import detectable

MANY = 6  # places that a sentence names one by one
MOST = 20  # arms whose selection is told one by one
MISSED = f"{100 * (1 - POWER):.0f} %"
COLUMNS = ("method", "against", "difference", "95 % interval", "p", "p (Holm)", "P(better)", "verdict")
WORDS = {
    BETTER: "better",
    WORSE: "worse",
    BETTER + ALONE: "better, but not after correction",
    WORSE + ALONE: "worse, but not after correction",
    EQUAL: "equal within {span}",
    UNCLEAR: "not told apart",
    UNTESTED: "not tested",
}


def page(study: str, families: Sequence[Family], overall: Overall | None, choices: Sequence[Choice]) -> str:
    """Return the comparisons of a study as Markdown: sentences first, then the pairs that they rest on."""
    shown = families[0]
    lines = [f"# {study}: who differs from whom, by {shown.metric} ({_arrow(shown)})"]
    for family, title in zip(families, titles(families), strict=True):
        lines += ["", f"## {title}", "", *sentences(family), "", *_table(family)]
    if overall and overall.metric != families[0].metric:
        overall = None
    if overall:
        lines += ["", f"## Over {len(overall.datasets)} datasets", "", *_over(overall), "", *_table(overall)]
    if choices:
        lines += ["", "## How configurations were selected on validation", "", *_selection(choices, shown)]
    return "\n".join([*lines, "", "## How to read this", "", *_legend(families, overall)]) + "\n"


def sentences(family: Family) -> list[str]:
    """Return what a family's comparisons say: against the best, against the baseline, and what they cannot say."""
    best = family.best
    mean = value(_mean(family, best), family.share)
    lines = [f"{len(family.names)} methods, n = {family.n} seeds; the best mean is that of {best} ({mean})."]
    if family.n < LEAST_SEEDS:
        lines.append(f"Nothing is tested: that needs {LEAST_SEEDS} report seeds.")
    else:
        lines.append(_sorted_out(f"Against {best}", family, best))
        if family.baseline not in (None, best) and len(family.names) > 2:
            lines.append(_sorted_out(f"Against the baseline {family.baseline}", family, family.baseline))
    return lines + _power(family)


def power(families: Sequence[Family]) -> list[str]:
    """Return a sentence for a table's caption: which differences its seeds mostly do not show."""
    seen = [
        (difference(family.visible, family.share, signed=False), family.visible, title)
        for family, title in zip(families, titles(families), strict=True)
        if family.visible
    ]
    if not seen:
        return []
    if len(seen) == 1:
        places = seen[0][0]
    elif len(seen) <= MANY:
        places = ", ".join(f"{text} ({title})" for text, _, title in seen)
    else:
        ends = min(seen, key=lambda one: one[1]), max(seen, key=lambda one: one[1])
        places = " to ".join(f"{text} ({title})" for text, _, title in ends)
    return [
        f"Power: differences in {families[0].metric} below {places} can go unseen: a paired t-test over"
        f" n = {_listed({family.n for family in families})} seeds (two-sided, α = {ALPHA}, uncorrected) misses one of"
        f" that size in {MISSED} of studies, at the median std of the paired differences."
    ]


def titles(families: Sequence[Compared]) -> list[str]:
    """Return a title for each family: its dataset, and what else tells it from the others."""
    axes = dict.fromkeys(("dataset", "condition", *(axis for family in families for axis in family.axes)))
    shown: list[str] = []
    for axis in axes:
        if shown and len({tuple(own.axes.get(a) for a in shown) for own in families}) == len(families):
            break
        if len({own.axes.get(axis) for own in families}) > 1:
            shown.append(axis)
    return [", ".join(own.axes[a] for a in shown or ["dataset"] if a in own.axes) for own in families]


def long_form(families: Sequence[Family], overall: Overall | None) -> str:
    """Return every pair as CSV, in raw units and full precision; over datasets, n counts them."""
    found: list[Compared] = [*families, *([overall] if overall else [])]
    axes = sorted({axis for one in found for axis in one.axes if axis not in ("metric", "method")})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    numbers = ("difference", "low", "high", "p", "p_holm", "improvement", "detectable")
    writer.writerow([*axes, "metric", "one", "other", "test", "n", *numbers, "verdict"])
    for one in found:
        test = "paired t" if isinstance(one, Family) else "Wilcoxon"
        place = [one.axes.get(axis, "all" if one is overall and axis == "dataset" else "") for axis in axes]
        for pair in one.pairs:
            low, high = pair.interval or ("", "")
            known = (pair.difference, low, high, pair.p, pair.corrected, pair.improvement, pair.detectable)
            own = ["" if number is None else number for number in known]
            writer.writerow([*place, one.metric, pair.one, pair.other, test, pair.n, *own, pair.verdict])
    return out.getvalue()


def value(number: float, share: bool) -> str:
    """Return a mean as tables show it."""
    return f"{100 * number:.1f}" if share else f"{number:.3g}"


def difference(number: float, share: bool, *, signed: bool = True) -> str:
    """Return a difference with its sign, or a size with its unit."""
    if not signed:
        return f"{100 * number:.1f} points" if share else f"{number:.2g}"
    text = f"{100 * number:+.2f}" if share else f"{number:+.3g}"
    return (text if float(text) else text[1:]).replace("-", "−")


def _mean(family: Family, name: str) -> float:
    values = family.values[name].values()
    return sum(values) / len(values)


def _sorted_out(start: str, compared: Compared, reference: str) -> str:
    """Return who is what against a reference."""
    said: dict[str, list[str]] = {}
    for pair in compared.against(reference):
        said.setdefault(pair.verdict, []).append(pair.one)
    parts = [f"{_word(kind, compared.share)}: {_names(said[kind])}" for kind in WORDS if kind in said]
    return f"{start}: {'; '.join(parts)}."


def _names(names: Iterable[str]) -> str:
    """Return names in a row, those with a comma in quotation marks."""
    return ", ".join(f'"{name}"' if "," in name else name for name in names)


def _word(verdict: str, share: bool) -> str:
    return WORDS[verdict].format(span=span(share))


def _power(family: Family) -> list[str]:
    if not family.visible:
        return []
    std = family.visible / detectable(family.n, ALPHA, POWER)
    size, spread = (difference(x, family.share, signed=False) for x in (family.visible, std))
    return [
        f"With n = {family.n} seeds, differences below {size} can go unseen: a paired t-test (two-sided, α = {ALPHA},"
        f" uncorrected) misses one of {size} in {MISSED} of studies, and smaller ones more often, where the paired"
        f" differences have a std of {spread}, the median over all pairs here."
    ]


def _over(found: Overall) -> list[str]:
    """Return the sentences and the methods' table of a comparison over datasets."""
    n = len(found.datasets)
    lines = []
    if n < found.least_datasets:
        lines = [
            f"Wilcoxon's signed-rank test over {n} datasets has no p-value below {2 ** (1 - n):.2g}: corrected for"
            f" {len(found.pairs)} pairs, it can find no difference before {found.least_datasets} datasets."
        ]
    if 2 ** (1 - n) < ALPHA:
        lines.append(_sorted_out(f"Against {found.best}", found, found.best))
        if found.baseline not in (None, found.best):
            lines.append(_sorted_out(f"Against the baseline {found.baseline}", found, found.baseline))
    body = [
        [name, f"{found.ranks[name]:.2f}", value(mean, found.share), _ends(interval, found.share, value)]
        for name, (mean, interval) in found.interquartile_means.items()
    ]
    return [*lines, "", *_aligned(["method", "mean rank", "IQM", "95 % interval"], body, 1)]


def _table(compared: Compared) -> list[str]:
    """Return the pairs with the best, then those with the baseline."""
    pairs = compared.against(compared.best)
    if compared.baseline not in (None, compared.best):
        pairs += [pair for pair in compared.against(compared.baseline) if pair.one != compared.best]
    return _aligned(COLUMNS, [_row(pair, compared.share) for pair in pairs], 2)


def _row(pair: Pair, share: bool) -> list[str]:
    p, corrected = ("" if number is None else f"{number:.2g}" for number in (pair.p, pair.corrected))
    return [
        *(pair.one, pair.other, difference(pair.difference, share), _ends(pair.interval, share, difference)),
        *(p, corrected, f"{pair.improvement:.2f}", _word(pair.verdict, share)),
    ]


def _ends(interval: tuple[float, float] | None, share: bool, shown: Callable[[float, bool], str]) -> str:
    return f"{shown(interval[0], share)} … {shown(interval[1], share)}" if interval else NOTHING


def _selection(choices: Sequence[Choice], compared: Compared) -> list[str]:
    """Return a line for each arm: what it took, what came next and how close, and what broke a tie."""
    shown = choices if len(choices) <= MOST else [one for one in choices if one.tied]
    rest = [f"Of {len(choices)} arms, the {len(shown)} whose selection a tie decided:", ""]
    head = ["arm", "taken", "validation", "seeds", "next", "behind by", "± over seeds", "tie broken by"]
    body = []
    for one in shown:
        behind, std = one.behind or (None, None)
        body.append(
            [
                *(one.name, f"#{one.configuration}", value(one.mean, compared.share), str(one.seeds)),
                NOTHING if one.runner_up is None else f"#{one.runner_up}",
                NOTHING if behind is None else difference(behind, compared.share).lstrip("+"),
                NOTHING if std is None else difference(std, compared.share).lstrip("+"),
                f"{one.decided} (of {len(one.tied) + 1})" if one.tied else "",
            ]
        )
    return [*(rest if len(shown) < len(choices) else ()), *(_aligned(head, body, 1) if body else ())]


def _legend(families: Sequence[Family], overall: Overall | None) -> list[str]:
    """Return the sentences that say how every number was computed."""
    share = families[0].share
    lines = [
        f"- difference: the method's mean minus the other's{', in points' if share else ''}, over the seeds that both"
        " have; P(better): the probability that a run of the one is better than a run of the other, equal ones counting"
        " half (Agarwal et al. 2021).",
    ]
    if any(family.n >= LEAST_SEEDS for family in families):
        lines.append(
            "- interval: percentile bootstrap over paired seeds, expanded for few seeds (Hesterberg 2015); p: two-sided"
            " paired t-test; Holm: corrected over all pairs of the section: that any of its better and worse is wrong"
            f" has a probability of {ALPHA} at most. Marks in the study's table are uncorrected."
        )
        lines.append(
            f"- better, worse: p (Holm) < {ALPHA}; equal: not that, and two one-sided paired t-tests at {ALPHA} exclude"
            f" differences of {span(share)} or more; not after correction: neither, but p < {ALPHA}; not told apart:"
            " too few seeds for any of these."
        )
    if overall:
        drawn = f"bootstrap drawing {overall.drawn}" if overall.drawn else "none, for want of runs"
        lines.append(
            f"- over datasets: interval of the difference: {drawn}{_reach(overall)}; p: exact Wilcoxon signed-rank test"
            " of the means on each dataset; IQM: mean of the middle half of all runs, as they are, its interval by a"
            " bootstrap drawing seeds within each dataset (Agarwal et al. 2021)."
        )
    return [*lines, "- All of it is about seeds on these test rows; it says nothing of other rows."]


def _reach(overall: Overall) -> str:
    few = overall.drawn and len(overall.datasets) < LEAST_DATASETS
    return ", which says nothing of other datasets" if few else ""


def _aligned(head: Sequence[str], body: Sequence[Sequence[str]], left: int) -> list[str]:
    """Return a Markdown table whose first `left` columns are flush left, without columns that say nothing."""
    told = [i for i in range(len(head)) if any(row[i] not in ("", NOTHING) for row in body)]
    rows = [[row[i].replace("|", "\\|") for i in told] for row in (head, *body)]
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    rule = [":" + "-" * (w - 1) if i < left else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    rows.insert(1, rule)
    return [
        "| " + " | ".join(f"{t:{'<' if i < left else '>'}{widths[i]}}" for i, t in enumerate(row)) + " |"
        for row in rows
    ]


def _arrow(compared: Compared) -> str:
    return "larger is better" if compared.direction == "max" else "smaller is better"


def _listed(values: Iterable[int]) -> str:
    return " or ".join(map(str, sorted(values)))
