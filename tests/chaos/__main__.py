"""ROUNDS rounds of chaos (default 25), a line each; exit code 1 if one did not pass."""

import os
import sys
import tempfile
from pathlib import Path

from tests.chaos.harness import FAULTS, disturbed, undisturbed


def main(rounds: int, seed: int) -> int:
    """Print what became of every round, and the sums."""
    with tempfile.TemporaryDirectory() as folder:
        expected = undisturbed(Path(folder) / "undisturbed")
        print(f"undisturbed: {len(expected.runs)} runs in {expected.seconds:.0f} s", flush=True)
        found = []
        for n in range(seed, seed + rounds):
            fault = list(FAULTS)[n % len(FAULTS)]
            found.append(one := disturbed(Path(folder) / str(n), fault, n, expected))
            print(
                f"{n:3d} {fault:16} after {one.moment:4.0%} of the runs: {one.starts} starts, {one.lost} lost,"
                f" {one.twice} done twice, {one.repeated} begun again, {one.seconds:+.0f} s,"
                f" {'same tables' if one.same else 'OTHER TABLES'}",
                flush=True,
            )
            if not one.passed:
                print(f"    said: {one.said}", flush=True)
    print(
        f"{rounds} faults: {sum(one.lost for one in found)} runs lost, {sum(one.twice for one in found)} done twice,"
        f" {sum(one.repeated for one in found)} begun again;"
        f" {sum(one.seconds for one in found) / max(1, rounds):.0f} s lost a fault on average"
    )
    return 0 if all(one.passed for one in found) else 1


if __name__ == "__main__":
    sys.exit(main(int(os.environ.get("ROUNDS", "25")), int(os.environ.get("SEED", "0"))))
