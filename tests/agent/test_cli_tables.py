"""Tables of the command line: a line per row in a pipe, folded and no wider than the screen on a terminal."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness import child_env
from jackstay_agent.cli.tables import cell, table
from terminal import Terminal

ROWS = [
    {"id": "https://api.binance.com", "why": "the connection ended before an answer: [Errno 104] reset", "left_s": 0.5},
    {"id": "[bold]x[/bold]", "why": None, "left_s": 123456.0},
]
CODE = f"from jackstay_agent.cli.tables import table\ntable({ROWS!r}, ('id', 'why', 'left_s'), title='what')\n"


def test_in_a_pipe_each_row_is_one_plain_line() -> None:
    """However long its cells are: columns that `awk` and `grep` can use, no colour, no trailing blanks."""
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, env=child_env() | {"COLUMNS": "40"}, check=True
    )
    title, head, first, second = done.stdout.splitlines()
    assert (title, head.split()) == ("what", ["id", "why", "left_s"])
    assert first == "https://api.binance.com  the connection ended before an answer: [Errno 104] reset  0.5"
    assert second.split("  ")[0] == "[bold]x[/bold]"
    assert second.endswith("  123456")
    assert head.index("left_s") == first.index("0.5") == second.index("123456")


@pytest.mark.parametrize("columns", [60, 70])
def test_on_a_terminal_a_long_cell_is_folded_inside_its_column(columns: int) -> None:
    """No line of the screen is broken by the terminal, nothing is cut off, what looks like markup is shown as it is."""
    terminal = Terminal([sys.executable, "-c", CODE], columns=columns, rows=24, env=child_env())
    try:
        shown = terminal.shows(lambda lines: any("123456" in line for line in lines))
    finally:
        terminal.close()
    first = next(number for number, line in enumerate(shown) if line.startswith("https://"))
    assert shown[first].endswith("0.5")
    assert shown[first + 1].startswith(" "), "it goes on below its own column"
    assert any(line.startswith("[bold]x") for line in shown)


def test_cells_are_what_a_person_reads() -> None:
    """Nothing is "-", a float has no exponent, a text has no line break."""
    values = [None, "", True, False, 0.123456, 1_234_567.0, 7, "a\n  b"]
    assert [cell(each) for each in values] == ["-", "-", "yes", "no", "0.1235", "1234567", "7", "a b"]


def test_a_table_without_rows_has_its_names(capsys: pytest.CaptureFixture[str]) -> None:
    """So that a script sees the same columns whether there is something or not."""
    table([], ("id", "why"))
    assert capsys.readouterr().out == "id  why\n"
