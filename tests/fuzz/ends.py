"""The one property of whatever is read: a result, or one sentence and exit code 2."""

from __future__ import annotations

import signal
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

from sweeper.cli import main

HANG_SECONDS = 60


def one_sentence(error: Exception) -> None:
    """See that a refusal is told in one line."""
    assert "\n" not in str(error)


def ends_well(*arguments: object) -> tuple[int, str]:
    """Run a command, see that it tells a result or refuses in a sentence, and return its exit code and output."""
    out, err = StringIO(), StringIO()
    signal.alarm(HANG_SECONDS)  # which ends the tests, saying where it hung
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main(list(map(str, arguments)))
    except SystemExit as end:  # argparse's
        code = end.code
    finally:
        signal.alarm(0)
    told = err.getvalue().splitlines()
    assert code in (0, 2), told
    refusals = [line for line in told if not line.startswith("ledger line ")]
    assert len(refusals) == (code == 2), told
    assert all(line.startswith("sweeper") for line in refusals), told
    out.getvalue().encode()
    return code, out.getvalue()
