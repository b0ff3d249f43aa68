"""`jackstay report`: an incident on one page, as text or as JSON, from the audit logs of one agent or of all."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import click

from jackstay_protocols import endpoints
from jackstay_protocols.errors import ValidationError

from ..audit.shelf import files_of
from ..report import gathered
from .audit import agent_option, instant_us, places
from .patterns import sparkline
from .progress import progress


@click.command()
@agent_option
@click.option("--since", default="1h", show_default=True, help="15m, 2h, 1d ago, or an instant.")
@click.option("--until", help="Up to there; default: now.")
@click.option("--out", "-o", type=click.Path(path_type=Path, dir_okay=False), help="The page's file.")
@click.option("--text", "as_text", is_flag=True, help="For a terminal, instead of a page.")
@click.option("--json", "as_json", is_flag=True, help="All facts as JSON, instead of a page.")
@click.option("--all", "everyone", is_flag=True, help="Every agent that has an audit log here, on one page.")
def report(
    name: str,
    config_path: Path | None,
    runtime_dir: Path | None,
    folder: Path | None,
    since: str,
    until: str | None,
    out: Path | None,
    as_text: bool,
    as_json: bool,
    everyone: bool,
) -> None:
    """Write what happened to NAME (or to --all) as one self-contained HTML page.

    \b
    jackstay report mybot --since 2h --out incident.html
    """
    now_s = time.time()
    since_us = instant_us(since, now_s)
    until_us = instant_us(until, now_s) if until else int(now_s * 1e6)
    if until_us <= since_us:
        raise click.BadParameter(f"--until {until} is not after --since {since}")
    if everyone:
        found = _everyone(runtime_dir)
        if not found:
            raise ValidationError("no agent here has an audit log; --folder says where one is")
    else:
        where, _key = places(name, config_path, runtime_dir, folder)
        if not files_of(where):
            raise ValidationError(f"{where} holds no audit log of agent {name!r}; --folder says where it is")
        found = {name: where}
    reports = []
    with progress("gathering", len(found) + 1) as more:
        for agent, where in found.items():
            reports.append(gathered(where, agent, since_us, until_us))
            more(1)
    if as_json:
        _give(json.dumps(reports if everyone else reports[0], indent=2), out)
    elif as_text:
        _give("\n\n".join(_text(each) for each in reports), out)
    else:
        _give(_page(reports), out or Path(f"jackstay-{'all' if everyone else name}.html"))


def _page(reports: list[dict[str, Any]]) -> str:
    try:
        from .report_page import page
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"the page is drawn with {error.name}: pip install 'jackstay[report]', or use --text or --json"
        ) from error
    return page(reports)


def _give(text: str, out: Path | None) -> None:
    if out is None:
        click.echo(text)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{out} cannot be written: {error.strerror}") from None
    click.echo(f"{out}: {len(text) // 1024 + 1} kB")


def _everyone(runtime_dir: Path | None) -> dict[str, Path]:
    """Agent -> its audit folder, wherever agents keep their state."""
    override = runtime_dir or os.environ.get("JACKSTAY_RUNTIME_DIR")
    if override:
        folders = sorted(Path(override).glob("*/state/audit"))
        return {folder.parent.parent.name: folder for folder in folders if files_of(folder)}
    roots = (endpoints.SYSTEM_STATE, endpoints.user_state(os.environ))
    folders = [folder for root in roots if root.is_dir() for folder in sorted(root.glob("*/audit"))]
    return {folder.parent.name: folder for folder in folders if files_of(folder)}


def _text(facts: dict[str, Any]) -> str:
    lines = [
        f"{facts['agent']}: {facts['since']} to {facts['until']}, {facts['audit_lines']} audit lines",
        "requests  " + ", ".join(f"{name} {count}" for name, count in facts["totals"].items()),
    ]
    for name, counts in facts["requests"].items():
        if any(counts):
            lines.append(f"  {name:9}|{sparkline(counts)}|")
    p50 = [each or 0 for each in facts["latency_ms"]["p50"]]
    if any(p50):
        lines.append(f"  p50 ms   |{sparkline([round(each * 1000) for each in p50])}| up to {max(p50):g}")
    for band in ("modes", "breakers", "connections", "patterns", "operators"):
        lines.append(f"{band}: {len(facts[band])}")
        lines += [f"  {_event(each)}" for each in facts[band][:40]]
    lines.append(f"orders: {len(facts['orders'])}")
    lines += [f"  {each['order']}  {' → '.join(each['story'])}" for each in facts["orders"][:100]]
    return "\n".join(lines)


def _event(each: dict[str, Any]) -> str:
    at = time.strftime("%H:%M:%S", time.gmtime(each["at_us"] / 1e6))
    who = "" if each["uid"] is None else f" by uid {each['uid']}"
    facts = ", ".join(f"{k} {v}" for k, v in each["fields"].items() if v not in (None, "", [], {}) and k != "evidence")
    return f"{at} {each['name']}{who}: {facts}"[:300]
