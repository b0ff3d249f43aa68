"""Completion by the tab key, in a real shell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness import child_env, cli


def completed(*words: str) -> list[str]:
    """What bash offers for the last of these words, by the printed script and the installed command."""
    script = cli("completion", "bash")
    assert script.returncode == 0, script.stderr
    env = child_env()
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    press = (
        'eval "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        '_jackstay_completion jackstay; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", press, "bash", script.stdout, "jackstay", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env=env,
        check=True,
    )
    return done.stdout.split()


def test_bash_completes_commands_subcommands_and_options() -> None:
    """The tab key offers what the command line has, and nothing that does not begin so."""
    assert completed("conn") == ["connections"]
    assert completed("breakers", "tr") == ["trip"]
    assert completed("status", "--js") == ["--json"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_of_their_own(shell: str) -> None:
    """The script leads back to the jackstay command in that shell's mode."""
    assert f"_JACKSTAY_COMPLETE={shell}_complete" in cli("completion", shell).stdout


def test_an_unknown_shell_is_refused_with_those_there_are() -> None:
    """A wrong name is a usage error that says which would do."""
    done = cli("completion", "tcsh")
    assert done.returncode == 2
    assert "bash" in done.stderr
    assert "fish" in done.stderr
