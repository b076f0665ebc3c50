"""What leaves a machine says nothing of its folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.ledger.places import placeless

ROOTS = (Path("/data/sets"),)


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("/home/ada/mine.npz", "mine.npz"),
        ("/home/ada lovelace/my own.npz", "my own.npz"),
        ("~/mine.npz", "mine.npz"),
        ("~ada/mine.npz", "mine.npz"),
        ("/data/sets/vqa/questions.csv", "vqa/questions.csv"),
        ("/", "."),
        ("no file '/home/ada lovelace/x.pt' there", "no file 'x.pt' there"),
        ("line 3 of /home/ada/x.py, in f", "line 3 of x.py, in f"),
        ('  File "/home/ada/x.py", line 3\n', '  File "x.py", line 3\n'),
        ("path=/home/ada/x", "path=x"),
        ("file:///home/ada/x and more", "x and more"),
    ],
)
def test_a_path_becomes_what_it_is_below_a_root_or_its_last_part(said, left):
    assert placeless(said, ROOTS) == left
    assert placeless({"a": [said, (said, 1)]}, ROOTS) == {"a": [left, (left, 1)]}


@pytest.mark.parametrize(
    "said",
    [
        "accuracy/left",
        "1/2",
        "test/clean",
        "s3://bucket/prefix",
        "https://example.org/a/b",
        "<p>a</p><br />",
        "data:image/jpeg;base64,/9j/4AA+/8=",
        "vqa/questions.csv",
        "\\frac{a}{b}",
        "~0.5",
        "",
    ],
)
def test_what_is_no_path_of_a_machine_stays(said):
    assert placeless(said, ROOTS) == said


def test_numbers_stay():
    assert placeless({"a": 1, "b": [0.5, None, True]}) == {"a": 1, "b": [0.5, None, True]}
