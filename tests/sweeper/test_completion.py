"""The scripts by which shells complete: accepted by the shell, and what a bash makes of them."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from sweeper.cli import COMMANDS, main
from sweeper.study.files import shipped


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """Return the file that holds the script for a shell."""
    folder = tmp_path_factory.mktemp("completion")

    def write(shell: str):
        path = folder / shell
        with pytest.MonkeyPatch.context() as patch, path.open("w") as file:
            patch.setattr("sys.stdout", file)
            assert main(["completion", shell]) == 0
        return path

    return write


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_accepts_its_script(script, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n", script(shell)], check=True)


def test_another_shell_is_refused(capsys):
    assert main(["completion", "bsh"]) == 2
    assert "did you mean 'bash'" in capsys.readouterr().err


@pytest.fixture
def completed(script, tmp_path):
    """Return what bash offers for a line in a folder with a study file and a storage."""
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "other.txt").touch()
    (tmp_path / "sweeps" / "studies" / "earlier").mkdir(parents=True)

    def ask(line: str) -> set[str]:
        words = " ".join(f"'{word}'" for word in line.split(" "))
        told = (
            f"source {script('bash')}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1));"
            " _shtab_sweeper 2>/dev/null; printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        done = subprocess.run(["bash", "-c", told], capture_output=True, text=True, cwd=tmp_path)
        return set(done.stdout.split())

    return ask


def test_bash_completes_commands_options_and_names(completed):
    assert completed("sweeper ") >= set(COMMANDS)
    assert completed("sweeper run qui") == {"quickstart"}
    assert completed("sweeper run ") >= {*shipped(), "mine.yaml"}
    assert "other.txt" not in completed("sweeper run ")
    assert completed("sweeper report e") == completed("sweeper status e") == {"earlier"}
    assert completed("sweeper methods lf") == {"lfm"}
    assert completed("sweeper methods lfm udm") == {"udml"}
    assert completed("sweeper conditions ga") == {"gaussian"}
    assert completed("sweeper metrics acc_") == {"acc_upper", "acc_lower"}
    assert completed("sweeper plan quickstart --js") == {"--json"}
    assert completed("sweeper completion z") == {"zsh"}
    assert completed("sweeper report earlier --format h") == {"html"}
    assert completed("sweeper report earlier --rows met") == {"method", "metric"}
