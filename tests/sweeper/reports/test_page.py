"""The page of a study: all in one file, what it says, and that it asks the network for nothing."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from sweeper.ledger.history import History
from sweeper.ledger.records import RunRecord
from sweeper.reports import page, report
from sweeper.reports.plots import lines
from tests.sweeper.reports.test_report import JOINT, LFM, plan, run, selected, whole

STUDY = "study: s\nresources:\n  cpus: 2.0\n  gpus: 0.5\n"


def records():
    """A study of two arms, one of which failed in part; every run took half an hour."""
    known = [*whole(JOINT, [0.8, 0.9]), selected(LFM, ["x", "y"]), run("x", LFM, 100, 0.7)]
    known.append(run("y", LFM, 101, status="failed", error="<OOM>"))
    timed = [replace(r, seconds=1800.0, host="h1") if isinstance(r, RunRecord) else r for r in known]
    return [plan(JOINT, LFM), *timed]


def built(pictures=(), study_file=""):
    return page.page(report.build(History.of("s", records())), pictures, study_file)


def section(text, title):
    """The words of a section."""
    found = re.search(f"<h2>{title}</h2>(.*?)</section>", text, re.S)
    return re.sub(r"<[^>]+>", " ", found.group(1)) if found else None


def test_the_page_holds_its_figures_and_asks_for_nothing_else(tmp_path):
    drawn = lines.curves([("a", {1: [0.1, 0.2]})], tmp_path / "validation", ylabel="y")
    text = built([drawn[0]], STUDY)
    assert base64.b64encode(drawn[0].read_bytes()).decode() in text
    assert not re.search(r"https?:|<script|<link|@import|url\(", text)
    assert section(built(), "Figures") is None


def test_every_element_is_closed():
    class Balance(HTMLParser):
        open: list[str] = []  # noqa: RUF012 - of this one use

        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "img", "br"):
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    reader = Balance()
    reader.feed(built(study_file=STUDY))
    assert reader.open == []


def test_the_page_says_what_was_found_selected_tried_and_what_failed():
    text = built()
    assert "not complete" in text
    assert "85.0 ± 7.1" in section(text, "Results")
    assert "All: train.lr 3." in section(text, "Selected configurations")
    assert re.search(r"joint: 2 configurations.*2 done", section(text, "Search"), re.S)
    assert "&lt;OOM&gt;: m" in section(text, "Failures")
    assert "No run failed" in section(page.page(report.build(History.of("s", records()[:-1]))), "Failures")


@pytest.mark.parametrize(
    ("study_file", "both"),
    [("", "Both 8 4.00 4.00 0.00 0.048"), (STUDY, "Both 8 4.00 8.00 2.00 0.696")],
)
def test_cost_counts_every_attempt_by_what_a_run_reserves(study_file, both):
    said = " ".join(section(built(study_file=study_file), "Cost").split())
    assert both in said
    assert "12 W for each CPU core and 300 W for each GPU" in said


def test_runs_that_other_studies_carried_out_are_not_in_the_sums():
    known = [replace(r, study="t") if isinstance(r, RunRecord) and r.key == "ka10" else r for r in records()]
    said = section(page.page(report.build(History.of("s", known))), "Cost")
    assert "1 runs that count here were carried out by other studies" in said
    assert "Both  7" in re.sub(r" +", "  ", said)


def test_the_page_says_where_it_ran_and_how_to_repeat_it():
    text = built(study_file=STUDY)
    assert "abc123" in section(text, "Environment")
    assert "h1" in section(text, "Environment")
    again = section(text, "How to repeat it")
    assert "sweeper run s.yaml" in again
    assert "sweeper repro ka10" in again
    assert "cpus: 2.0" in again
    assert "sweeper run" not in section(built(), "How to repeat it")
