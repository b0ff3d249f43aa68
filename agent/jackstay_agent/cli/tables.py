"""Tables of the command line: one look for all of them.

On a terminal a table is as wide as that is, and long cells are folded. In a pipe or a file a row is one line, whole and
without colour, so that `grep` and `awk` see what a person sees.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

GAP = "  "
NAME_CHARS = 28


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, title: str = "") -> None:
    """Print these columns of the rows, under their names; what a row lacks is shown as "-"."""
    lines = [tuple(cell(row.get(column)) for column in columns) for row in rows]
    if title:
        click.secho(title, bold=True)
    if sys.stdout.isatty():
        _on_a_terminal(lines, columns)
        return
    widths = [max(len(each) for each in column) for column in zip(columns, *lines, strict=True)]
    for line in (tuple(columns), *lines):
        click.echo(GAP.join(each.ljust(width) for each, width in zip(line, widths, strict=True)).rstrip())


def cell(value: Any) -> str:
    """A value as a person reads it, on one line."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return " ".join(str(value).split())


def _on_a_terminal(lines: Sequence[Sequence[str]], columns: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        named = max(len(line[0]) for line in lines) if number == 0 and lines else 0  # what a row is about stays whole
        shown.add_column(column, overflow="fold", min_width=min(named, NAME_CHARS) or None)
    for line in lines:
        shown.add_row(*(Text(each) for each in line))  # a name with brackets in it is no markup
    Console(highlight=False).print(shown)
