"""The incident on one page: self-contained HTML, bands drawn by matplotlib as inline SVG, tables under them.

No script, no font, no image is fetched; the page's own policy forbids it. It prints: light ground, no colour without a
word. Only the command line imports this, so that no agent carries a plotting library.
"""

from __future__ import annotations

import html
import io
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import matplotlib as mpl

mpl.use("svg")

import matplotlib.dates as dates
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from ..report import OUTCOMES, spans

COLOURS = {"ok": "#4c9f70", "rejected": "#e0a030", "failed": "#c8553d", "unknown": "#7b4fa3", "refused": "#5b7fa6"}
STATES = ("#c8553d", "#e0a030", "#7b4fa3", "#5b7fa6", "#8a6d3b", "#4c9f70", "#999999")
WIDTH_IN = 10.0
ROWS_MAX = 12

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:1080px;margin:2em auto;padding:0 1em;color:#222;background:#fff}
h1{margin-bottom:.1em} h2{margin:1.4em 0 .2em;font-size:1.1em;border-bottom:1px solid #ccc}
svg{width:100%;height:auto} table{border-collapse:collapse;width:100%;font-size:13px}
th,td{text-align:left;padding:2px 8px 2px 0;border-bottom:1px solid #eee;vertical-align:top;overflow-wrap:anywhere}
.note{color:#666} .figure{display:inline-block;margin-right:1.6em} .figure b{font-size:1.4em;display:block}
@media print{body{margin:0;max-width:none;font-size:11px} section{break-inside:avoid} table{font-size:9px}}
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(reports: Sequence[dict[str, Any]]) -> str:
    """One document for one agent or several."""
    names = ", ".join(report["agent"] for report in reports)
    body = "".join(_agent(report) for report in reports)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>jackstay report: {html.escape(names)}</title>"
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<style>{STYLE}</style></head><body>{body}</body></html>"
    )


def _agent(report: dict[str, Any]) -> str:
    totals = report["totals"]
    figures = "".join(
        f'<span class="figure"><b>{totals.get(name, 0)}</b>{name}</span>' for name in OUTCOMES if totals.get(name)
    )
    left_out = f", {report['left_out']} rows left out" if report["left_out"] else ""
    return (
        f"<h1>{html.escape(report['agent'])}</h1><p>{report['since']} to {report['until']}"
        f' <span class="note">from {report["audit_lines"]} lines of the audit log{left_out}</span></p><p>{figures}</p>'
        + _band("modes", "Modes, bots, states", report, _states("modes"))
        + _band("breakers", "Breakers, limits, loops", report, _states("breakers"))
        + _band("connections", "Connections and feeds", report, _states("connections"))
        + _band("requests", f"Requests by outcome, per {report['bin_s']:.3g} s", report, _requests)
        + _band("latency", "Latency in ms, as bots saw it", report, _latency)
        + _band("patterns", "Patterns", report, _states("patterns"))
        + _table("patterns-table", "What the errors said", _pattern_rows(report))
        + _table("orders", "Orders touched", _order_rows(report))
        + _table("operators", "What people did", _event_rows(report["operators"]))
        + _table("causes", "Why requests failed or were refused", _cause_rows(report))
        + _table("timeline", "Timeline", _event_rows(report["timeline"]))
    )


def _band(name: str, title: str, report: dict[str, Any], draw: Callable[[Axes, dict[str, Any]], float | None]) -> str:
    figure, axes = plt.subplots(figsize=(WIDTH_IN, 1.6))
    try:
        height = draw(axes, report)
        if height is None:
            return f'<section id="band-{name}"><h2>{title}</h2><p class="note">nothing in this time</p></section>'
        figure.set_size_inches(WIDTH_IN, height)
        # the same edges in every band, so that an instant stands above itself
        figure.subplots_adjust(left=0.2, right=0.985, top=1 - 0.08 / height, bottom=0.42 / height)
        axes.set_xlim(_day(report["since_us"]), _day(report["until_us"]))
        axes.xaxis_date(tz=UTC)
        locator = dates.AutoDateLocator(tz=UTC, maxticks=10)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.xaxis.get_offset_text().set_fontsize(8)
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}):
            out = io.StringIO()
            figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        drawing = out.getvalue()
        drawing = drawing[drawing.index("<svg") :]
        return f'<section id="band-{name}"><h2>{title}</h2>{_unique_ids(drawing, name)}</section>'
    finally:
        plt.close(figure)


def _unique_ids(drawing: str, name: str) -> str:
    """Several drawings share one page, so their ids must not meet."""
    return (
        drawing.replace('id="', f'id="{name}-').replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    )


def _states(band: str) -> Callable[[Axes, dict[str, Any]], float | None]:
    def draw(axes: Axes, report: dict[str, Any]) -> float | None:
        found = spans(report[band], report["until_us"])
        if not found:
            return None
        rows = list(found.items())[:ROWS_MAX]
        colours: dict[str, str] = {}
        for place, (_subject, stretches) in enumerate(rows):
            for begin, end, state in stretches:
                colour = colours.setdefault(state, STATES[len(colours) % len(STATES)])
                if end > begin:
                    axes.barh(place, _day(end) - _day(begin), 0.7,
                              left=_day(begin), color=colour, alpha=0.55)  # fmt: skip
                if end - begin > (report["until_us"] - report["since_us"]) * (0.012 * len(state) + 0.01):
                    axes.text(_day(begin), place, f" {state}", va="center", fontsize=7, clip_on=True)
                axes.plot([_day(begin)], [place], "|", color=colour, markersize=12)
        axes.set_yticks(range(len(rows)), [_short(subject) for subject, _stretches in rows], parse_math=False)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.invert_yaxis()
        return 0.7 + 0.28 * len(rows)

    return draw


def _requests(axes: Axes, report: dict[str, Any]) -> float | None:
    if not report["totals"]:
        return None
    width = report["bin_s"] / 86_400
    places = [_day(report["since_us"]) + width * (n + 0.5) for n in range(len(report["requests"]["ok"]))]
    base = [0] * len(places)
    for name, counts in report["requests"].items():
        if any(counts):
            axes.bar(places, counts, width * 0.95, bottom=base, label=name, color=COLOURS.get(name, "#999999"))
            base = [low + count for low, count in zip(base, counts, strict=True)]
    axes.legend(fontsize=7, ncols=5, frameon=False, loc="upper left")
    axes.set_ylim(0, max(base) * 1.3 + 1)
    return 2.1


def _latency(axes: Axes, report: dict[str, Any]) -> float | None:
    width = report["bin_s"] / 86_400
    drawn = False
    for name, style in (("p50", "-"), ("p95", "--"), ("p99", ":")):
        values = report["latency_ms"][name]
        points = [
            (_day(report["since_us"]) + width * (n + 0.5), value) for n, value in enumerate(values) if value is not None
        ]
        if points:
            drawn = True
            axes.plot(*zip(*points, strict=True), style, label=name, color="#335577", marker=".", markersize=3)
    if not drawn:
        return None
    axes.set_yscale("log")
    axes.legend(fontsize=7, ncols=3, frameon=False, loc="upper left")
    return 2.1


# ---- tables


def _table(name: str, title: str, rows: list[list[str]]) -> str:
    if len(rows) < 2:
        return f'<section id="band-{name}"><h2>{title}</h2><p class="note">none in this time</p></section>'
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows[1:])
    return f'<section id="band-{name}"><h2>{title}</h2><table><tr>{head}</tr>{body}</table></section>'


def _pattern_rows(report: dict[str, Any]) -> list[list[str]]:
    rows = [["time", "what", "kind", "where", "errors", "confidence", "evidence", "do"]]
    for each in report["patterns"]:
        f = each["fields"]
        where = f"{f.get('component', '')} {f.get('error_type', '')}"
        evidence = json.dumps(f.get("evidence", {}), default=str)[:400]
        what = each["name"].partition(".")[2]
        counts = [str(f.get(name, "")) for name in ("frequency", "confidence")]
        rows.append(
            [_clock(each["at_us"]), what, str(f.get("kind", "")), where, *counts, evidence, str(f.get("action", ""))]
        )
    return rows


def _order_rows(report: dict[str, Any]) -> list[list[str]]:
    rows = [["time", "order", "bot", "venue", "what", "venue's id", "story"]]
    for each in report["orders"]:
        what = " ".join(str(each[name]) for name in ("symbol", "side", "type", "quantity", "price") if name in each)
        named = [str(each.get(name, "")) for name in ("bot", "venue")]
        story = " → ".join(each["story"])
        rows.append([_clock(each["first_us"]), each["order"], *named, what, str(each.get("venue_id", "")), story])
    return rows


def _event_rows(events: list[dict[str, Any]]) -> list[list[str]]:
    rows = [["time", "event", "uid", "facts"]]
    for each in events:
        facts = ", ".join(f"{key} {value}" for key, value in each["fields"].items() if value not in (None, "", [], {}))
        rows.append([_clock(each["at_us"]), each["name"], "" if each["uid"] is None else str(each["uid"]), facts[:400]])
    return rows


def _cause_rows(report: dict[str, Any]) -> list[list[str]]:
    rows = [["what", "how often"]]
    rows += [[f"refused: {reason}", str(count)] for reason, count in report["refusals"].items()]
    return rows + [[f"venue: {cause}", str(count)] for cause, count in report["causes"].items()]


def _day(at_us: int) -> float:
    """An instant as the axis counts."""
    return at_us / 86_400e6


def _at(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1e6, UTC)


def _clock(at_us: int) -> str:
    return _at(at_us).strftime("%H:%M:%S.%f")[:-3]


def _short(text: str) -> str:
    return text if len(text) <= 34 else text[:31] + "..."
