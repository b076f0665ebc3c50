"""What is written for papers compiles: no error, nothing wider than a column or the text, no page too full."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from sweeper import ROOT
from sweeper.ledger.history import History
from sweeper.reports import configurations, ranks, report
from sweeper.reports.cells import Result
from sweeper.reports.tables import pivot
from sweeper.reports.writers import render
from tests.sweeper.reports.test_report import JOINT, LFM, plan, run, selected, whole

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not shutil.which("pdflatex"),
        reason="pdflatex is not installed: apt-get install --no-install-recommends texlive-latex-recommended",
    ),
]

DOCUMENT = r"""\documentclass[10pt,twocolumn]{article}
\usepackage[letterpaper,textwidth=6.8in,textheight=9in,columnsep=0.2in]{geometry}
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""
LABELS = [
    "plain",
    "learned_α, β = ½ & 50 %",
    "a|b_c <x> #1 ~^ {y} \\z $Ω$ * [opt]",
    "Łódź Ünïcode ß 漢字",
    "λ ≥ 10⁻³ → ∞ × “q” …",
]


def table(
    methods,
    *,
    datasets=("digits",),
    conditions=("clean",),
    metrics=("accuracy",),
    columns=("dataset", "condition"),
):
    """A table of five seeds per cell; the first method fails in part."""
    values = {seed: dict.fromkeys(metrics, 0.5 + seed / 50) for seed in range(5)}
    results = [
        Result(
            {"dataset": d, "encoders": "e", "fusion": "f", "method": m, "condition": c},
            tuple(range(5)),
            dict(list(values.items())[: 3 if i == 0 else 5]),
            {4: "OOM"} if i == 0 else {},
        )
        for i, m in enumerate(methods)
        for d in datasets
        for c in conditions
    ]
    found = pivot(
        results, ["method"], list(columns), list(metrics), dict.fromkeys(metrics, "max"), percent=["accuracy"]
    )
    return ranks.beside(found, ranks.rank(results, metrics[0], conditions[0], "max"))


def compiled(folder, text):
    """Compile a text and return what LaTeX has to say against it."""
    (folder / "all.tex").write_text(text)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
        cwd=folder,
        capture_output=True,
        timeout=120,
    )
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log[-2000:]
    return re.findall(r"(?:Overfull|Float too large|Missing character).*", log)


def test_tables_of_all_kinds_compile_and_fit(tmp_path):
    many = [f"gaussian-{i}@signed (share 1)" for i in range(12)]
    metrics = ["accuracy", "accuracy/spoken", "macro_f1", "weight/written", "gap"]
    tables = [
        table(LABELS),
        table(["a", "b"], conditions=many),
        table(["a", "b"], conditions=many[:3], metrics=metrics, columns=("condition",)),
        table([f"method_{i}" for i in range(130)], datasets=("d1", "d2", "d_3")),
        table(LABELS, datasets=LABELS),
    ]
    assert any(cell.metric == ranks.MEAN_RANK for cell in tables[-1].cells.values())
    long = ["A sentence of a caption, which says α and 100 %, _and_ so on." * 3] * 20
    texts = [render(one, "latex", long, name=f"table_{i}") for i, one in enumerate(tables)]
    assert compiled(tmp_path, DOCUMENT % "\n".join(texts)) == []


def test_configurations_of_many_arms_compile_and_fit(tmp_path):
    parameters = {f"train.some_parameter_{i}": 1 / (i + 3) for i in range(12)}
    arms = [replaced(i) for i in range(60)]
    chosen = [selected(one, ["k"], i, parameters={**parameters, "alpha": i}) for i, one in enumerate(arms)]
    text = configurations.latex(History.of("s", [plan(*arms), *chosen, run("k", arms[0], 100, 0.5)]))
    assert compiled(tmp_path, DOCUMENT % text) == []


def replaced(i):
    axes = {**JOINT.axes, "method": f"method_{i} & more"}
    return type(JOINT)(key=f"a{i}", axes=axes, code="c")


def test_the_page_of_make_paper_compiles(tmp_path):
    from sweeper.reports import figures

    records = [plan(JOINT, LFM), *whole(JOINT, [0.8, 0.9]), *whole(LFM, [0.9, 0.92])]
    found = report.build(History.of("s", records))
    report.write(found, tmp_path)
    figures.draw(found.history, found, lambda _: [], tmp_path / "figures")
    template = (ROOT / "docs" / "paper.tex").read_text()
    assert compiled(tmp_path, rf"\def\study{{s}}\def\folder{{.}}{template}") == []
