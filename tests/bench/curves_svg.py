"""Small charts side by side as one SVG: a curve per panel over a logarithmic axis, without a plotting library."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

WIDE, HIGH, LEFT, TOP, GAP = 300, 150, 56, 54, 76
NAMESPACE = "http://www.w3.org/2000/svg"
COLOURS = ("#1f6f8b", "#c05621", "#5a7d2b")


@dataclass(frozen=True)
class Panel:
    """``lines``: a name and its points (x, y) each; x from 1 on a logarithmic axis, 0 is drawn at its left edge."""

    title: str
    x: str
    y: str
    lines: dict[str, list[tuple[float, float]]]
    note: str = ""


def svg(panels: list[Panel], columns: int = 2) -> str:
    rows = -(-len(panels) // columns)
    width, height = columns * (LEFT + WIDE + 30), rows * (TOP + HIGH + GAP)
    parts = [
        f'<svg xmlns="{NAMESPACE}" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for at, panel in enumerate(panels):
        x, y = at % columns * (LEFT + WIDE + 30) + LEFT, at // columns * (TOP + HIGH + GAP) + TOP
        parts.append(f'<g transform="translate({x},{y})">{_panel(panel)}</g>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel) -> str:
    points = [point for line in panel.lines.values() for point in line]
    x_max = max(x for x, _ in points)
    top = _round_up(max(y for _, y in points) * 1.15)

    def place(x: float, y: float) -> tuple[float, float]:
        share = math.log10(max(x, 1)) / math.log10(x_max) if x_max > 1 else 0.0
        return round(share * WIDE, 1), round(HIGH - y / top * HIGH, 1)

    parts = [
        f'<text x="0" y="-30" font-size="13" font-weight="bold">{escape(panel.title)}</text>',
        f'<text x="0" y="-14" fill="#555">{escape(panel.y)}</text>',
        f'<text x="{WIDE}" y="{HIGH + 30}" text-anchor="end" fill="#555">{escape(panel.x)}</text>',
        f'<path d="M0 0V{HIGH}H{WIDE}" fill="none" stroke="#333"/>',
    ]
    for part in (0.5, 1.0):
        level = HIGH - part * HIGH
        parts.append(f'<path d="M0 {level}H{WIDE}" stroke="#ddd"/>')
        parts.append(f'<text x="-6" y="{level + 4}" text-anchor="end">{top * part:g}</text>')
    for x in sorted({x for x, _ in points}):
        at, _ = place(x, 0)
        parts.append(f'<path d="M{at} {HIGH}v4" stroke="#333"/>')
        parts.append(f'<text x="{at}" y="{HIGH + 16}" text-anchor="middle">{_short(x)}</text>')
    for number, (name, line) in enumerate(panel.lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        drawn = [place(*point) for point in line]
        parts.append(
            f'<polyline points="{" ".join(f"{x},{y}" for x, y in drawn)}" fill="none" stroke="{colour}" '
            'stroke-width="2"/>'
        )
        parts += [f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>' for x, y in drawn]
        parts.append(f'<text x="{number * 150}" y="{HIGH + 46}" fill="{colour}">{escape(name)}</text>')
    if panel.note:
        parts.append(f'<text x="0" y="{HIGH + 61}" fill="#555">{escape(panel.note)}</text>')
    return "".join(parts)


def _round_up(value: float) -> float:
    """To 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(value))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= value))


def _short(x: float) -> str:
    return f"{x / 1000:g}k" if x >= 1000 else f"{x:g}"
