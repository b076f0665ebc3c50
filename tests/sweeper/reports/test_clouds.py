"""Clouds of points: every line and every column says what it is, also where a panel is empty."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from sweeper.reports.plots.clouds import Cloud, Column, clouds

LEFT, RIGHT, BOTH = (Column(title, ("0", "1"), classes=True) for title in ("left", "right", "both"))
CLOUD = Cloud(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([0, 1]))


def test_lines_and_columns_are_named_where_some_have_no_panel(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    lines = {
        "alone": {RIGHT: CLOUD},
        "joint": {LEFT: CLOUD, RIGHT: CLOUD, BOTH: CLOUD},
    }
    clouds(lines, tmp_path / "features", "test rows")
    axes = drawn[0].axes
    assert [panel.get_title() for panel in axes[:3]] == ["left", "right", "both"]
    assert [panel.get_ylabel() for panel in axes[::3]] == ["alone", "joint"]
    assert [len(panel.collections) > 0 for panel in axes] == [False, True, False, True, True, True]
