"""A study as one HTML page that can be mailed: tables, figures, configurations, failures, cost and how to repeat it.

It is built from the study's history, the pictures and the study file alone, and asks the network for nothing.
"""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from sweeper.ledger.records import RunRecord
from sweeper.reports import configurations, cost, ranks
from sweeper.reports.names import capital, in_percent, label, titled
from sweeper.reports.report import Report
from sweeper.reports.writers.html import element
from sweeper.study import yamls
from sweeper.study.schema import Resources

NAME = "report.html"
OPEN = 40  # configurations up to which their lists are unfolded
CSS = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:64em;padding:1em;color:#222}
h1{font-size:1.6em;margin:.3em 0}h2{font-size:1.2em;margin:1.8em 0 .5em;border-bottom:1px solid #ccc}
.wide{overflow-x:auto}table{border-collapse:collapse;border-block:2px solid;font-size:.9em}
tbody{border-top:1px solid}th,td{padding:.2em .7em;text-align:right;white-space:nowrap;vertical-align:top}
tbody th{font-weight:400}.l{text-align:left}.c{text-align:center}td.w{white-space:normal;min-width:16em}
tr.s{font-weight:600}sup{line-height:0}.note{color:#555;font-size:.85em}
figure{margin:1em 0;break-inside:avoid}figure img{max-width:100%;height:auto}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,26em),1fr));gap:0 1.5em}
figure.all{grid-column:1/-1}figcaption{font-size:.85em;color:#555}
pre{background:#f5f5f5;padding:.7em;overflow-x:auto;font-size:.85em}summary{cursor:pointer;margin:.4em 0}
@media(max-width:40em){body{font-size:13px}th,td{padding:.15em .4em}thead th{white-space:normal}td.w{min-width:11em}}
@media print{body{font-size:9pt;max-width:none;padding:0}.wide{overflow:visible}pre{white-space:pre-wrap}
th,td{white-space:normal;padding:.1em .4em}tr{break-inside:avoid}details::details-content{content-visibility:visible}}
"""


def page(found: Report, pictures: Sequence[Path] = (), study_file: str = "") -> str:
    """Return the page; `pictures` are PNG files, which become a part of it, `study_file` what was asked for."""
    plan = found.history.plan
    sections = {
        "Results": _results(found),
        "Figures": _figures(pictures),
        "Selected configurations": _selected(found),
        "Search": _search(found),
        "Failures": _failures(found),
        "Cost": _cost(found, study_file),
        "Environment": _environment(found),
        "How to repeat it": _repeat(found, study_file),
    }
    body = [f"<section><h2>{title}</h2>{text}</section>" for title, text in sections.items() if text]
    state = "complete" if found.complete else "not complete: the table says which cells lack runs"
    arms = len(plan.arms)
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{escape(plan.study)}</title><style>{CSS}</style></head><body>",
            f"<h1>{escape(plan.study)}</h1>",
            f"<p>{arms} arm{'s' * (arms > 1)}, {len(plan.conditions)} test condition{'s' * (len(plan.conditions) > 1)},"
            f" {len(plan.final.seeds)} report seeds; {state}.</p>",
            *body,
            "</body></html>",
        ]
    )


def of(found: Report, folder: Path, pictures: Sequence[Path]) -> str:
    """Return the page, with the study file that lies in the study's folder, if one does."""
    there = folder / "study.yaml"
    return page(found, pictures, there.read_text() if there.exists() else "")


def write(found: Report, folder: Path, pictures: Sequence[Path]) -> Path:
    """Write the page into the study's folder, whole or not at all, and return it."""
    path = folder / NAME
    text = of(found, folder, pictures)
    (folder / "figures").mkdir(exist_ok=True)
    beside = folder / "figures" / f".{NAME}.{os.getpid()}"  # out of the sight of who copies the study's files
    beside.unlink(missing_ok=True)
    beside.write_text(text)
    beside.replace(path)
    return path


def _results(found: Report) -> str:
    table = ranks.beside(found.table(partial=True), found.ranking)
    shown = element(table, lambda axis, name: label(axis, name, table.percent))
    said = "<br>".join(escape(sentence) for sentence in (*found.caption, *table.caption))
    return f'<div class="wide">{shown}</div><p class="note">{said}</p>'


def _figures(pictures: Sequence[Path]) -> str:
    drawn = []
    for path in pictures:
        content = path.read_bytes()
        wide = int.from_bytes(content[16:20], "big") > 1200  # pixels, as the head of a PNG says
        source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
        name = escape(path.stem)
        drawn.append(
            f'<figure{" class=all" * wide}><img src="{source}" alt="{name}"><figcaption>{name}</figcaption></figure>'
        )
    return f'<div class="figures">{"".join(drawn)}</div>' if drawn else ""


def _selected(found: Report) -> str:
    history, metrics = found.history, found.history.plan.select.metrics
    tried = configurations.tried(history)
    chosen = {history.names[arm]: one for arm, own in tried.items() for one in own if one.selected}
    if not chosen:
        return ""
    shared = configurations.common([one.parameters for one in chosen.values()]) if len(chosen) > 1 else {}
    rows = [
        [
            name,
            str(one.number),
            *(one.said(m, metrics[0]) for m in metrics),
            configurations.listed(one.parameters, shared),
        ]
        for name, one in chosen.items()
    ]
    said = "No. 0 is the published default; mean ± std (ddof 1) on validation over n tuning seeds."
    if shared:
        said += f" All: {configurations.listed(shared)}."
    return _table(["Arm", "No.", *_validation(found), "Parameters"], rows) + _note(said)


def _search(found: Report) -> str:
    history, metrics = found.history, found.history.plan.select.metrics
    tried = {
        history.names[arm]: own
        for arm, own in configurations.tried(history).items()
        if any(o.runs for o in own)
    }
    unfolded = sum(map(len, tried.values())) <= OPEN
    said = []
    for name, own in tried.items():
        shared = configurations.common([one.parameters for one in own]) if len(own) > 1 else {}
        rows = [
            [
                f"{one.number}{' (selected)' * one.selected}",
                *(one.said(m, metrics[0]) for m in metrics),
                ", ".join(
                    f"{n} {status}" for status, n in Counter(r.status for r in one.runs.values()).items()
                ),
                configurations.listed(one.parameters, shared),
            ]
            for one in own
        ]
        text = _table(["No.", *_validation(found), "Runs", "Parameters"], rows, [one.selected for one in own])
        fixed = _note(f"All: {configurations.listed(shared)}.") if shared else ""
        summary = f"<summary>{escape(name)}: {len(own)} configuration{'s' * (len(own) > 1)}</summary>"
        said.append(f"<details{' open' * unfolded}>{summary}{text}{fixed}</details>")
    return "".join(said)


def _failures(found: Report) -> str:
    history = found.history
    failed = [r for r in history.latest.values() if r.status in ("failed", "diverged", "preempted")]
    if not failed:
        return "<p>No run failed.</p>"
    counted = Counter((history.names.get(r.arm, r.arm), r.stage, r.status, r.failure) for r in failed)
    rows = [[name, stage, status, str(n), why] for (name, stage, status, why), n in counted.most_common()]
    return _table(["Arm", "Stage", "Status", "Runs", "Reason"], rows)


def _cost(found: Report, study_file: str) -> str:
    asked = _resources(study_file)
    cpus, gpus = asked.cpus * asked.workers, asked.gpus * asked.workers
    rows = [
        [
            capital(one.stage),
            str(one.runs),
            f"{one.hours:.2f}",
            f"{one.cpu_hours:.2f}",
            f"{one.gpu_hours:.2f}",
            f"{one.kwh:.3f}",
        ]
        for one in cost.costs(found.history, cpus=cpus, gpus=gpus)
    ]
    said = f"A run reserves {cpus:g} CPU cores and {gpus:g} GPUs" + (
        ", as the study file says." if study_file else ": what a study asks for without saying so."
    )
    said += f" {cost.ASSUMED}"
    if others := cost.taken_over(found.history):
        said += f" {others} runs that count here were carried out by other studies and are not in these sums."
    return _table(["Stage", "Runs", "Hours", "CPU hours", "GPU hours", "kWh, about"], rows) + _note(said)


def _resources(study_file: str) -> Resources:
    """Return what each run reserves, by the study file as the study's folder keeps it."""
    asked = yamls.read(study_file, "the study's file").get("resources") if study_file else None
    return Resources.model_validate(asked or {})


def _environment(found: Report) -> str:
    history = found.history
    runs = [r for r in history.runs.values() if r.done]
    rows = [
        ["Code", _words(r.git for r in runs) or history.plan.git],
        ["Packages", _words(r.versions for r in runs)],
        ["Hosts", _words(r.host for r in runs)],
        ["Hardware", _words(_hardware(r) for r in runs)],
        ["Memory of a run, at most", f"{max((r.memory_mb for r in runs), default=0) / 1024:.1f} GiB"],
    ]
    gpu = [r for r in runs if r.gpu_total_mb]
    if gpu:
        most, total = max(r.gpu_memory_mb for r in gpu), max(r.gpu_total_mb for r in gpu)
        rows.append(["GPU memory of a run, at most", f"{most / 1024:.1f} of {total / 1024:.1f} GiB"])
    return _table(["", ""], [row for row in rows if row[1]])


def _hardware(run: RunRecord) -> str:
    """Return what a record says of the machine, where it says anything."""
    return ", ".join(f"{name} {value}" for name, value in getattr(run, "hardware", {}).items())


def _repeat(found: Report, study_file: str) -> str:
    history, study = found.history, found.history.plan.study
    commands = []
    if study_file:
        commands += [
            f"sweeper run {study}.yaml      # the study file below; what is finished is not run again"
        ]
    commands += [f"sweeper report {study}        # the table"]
    final = [run.key for arm in history.selected for run in history.final(arm).values()]
    if final:
        commands.append(f"sweeper repro {final[0]}   # one run again, and whether its numbers match")
    text = f"<pre>{escape(chr(10).join(commands))}</pre>"
    if study_file:
        text += f"<p>{escape(study)}.yaml, as it was carried out:</p><pre>{escape(study_file)}</pre>"
    return text


def _validation(found: Report) -> list[str]:
    """Return what the columns of the metrics are called that the search went by."""
    metrics = found.history.plan.select.metrics
    shown = [metric for metric in metrics if in_percent(metric, metrics[0])]
    return [f"{titled(metric, shown)} on validation" for metric in metrics]


def _words(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(filter(None, texts)))


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], strong: Sequence[bool] = ()) -> str:
    """Return a table; the first column is a heading, the last one of words may break."""
    last = len(head) - 1
    words = [i == last and any(c.isalpha() for row in rows for c in row[i]) for i in range(len(head))]
    kinds = ["l" if i == 0 else "l w" if words[i] else "" for i in range(len(head))]
    tops = "".join(f'<th class="{kind}">{escape(text)}</th>' for kind, text in zip(kinds, head, strict=True))
    lines = []
    for i, row in enumerate(rows):
        texts = [f'<td class="{kind}">{escape(text)}</td>' for kind, text in zip(kinds, row, strict=True)]
        lines.append(f"<tr{' class=s' if strong and strong[i] else ''}>{''.join(texts)}</tr>")
    top = f"<thead><tr>{tops}</tr></thead>" if any(head) else ""
    return f'<div class="wide"><table>{top}<tbody>{"".join(lines)}</tbody></table></div>'
