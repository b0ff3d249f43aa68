"""Graphs in a terminal, and the slope of a line through noisy points."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

BLOCKS = " ▁▂▃▄▅▆▇█"
WIDTH, HEIGHT = 72, 6


def slope(points: list[tuple[float, float]]) -> float:
    """The median of all slopes between pairs (Theil-Sen): a few outliers move it little."""
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for index, earlier in enumerate(points)
        for later in points[index + 1 :]
        if later[0] > earlier[0]
    ]
    return median(slopes) if slopes else 0.0


def by_minute(
    points: list[tuple[float, float]], of: Callable[[list[float]], float] = median, every_s: float = 60.0
) -> list[tuple[float, float]]:
    """One point a minute: (its middle, the median of what was seen, or what else ``of`` makes of it)."""
    buckets: dict[int, list[float]] = {}
    for at, value in points:
        buckets.setdefault(int(at // every_s), []).append(value)
    return [((number + 0.5) * every_s, of(values)) for number, values in sorted(buckets.items())]


def graph(title: str, unit: str, points: list[tuple[float, float]]) -> str:
    """A filled curve of the largest value per column, with its bounds at the side."""
    if not points:
        return f"{title}: nothing was seen"
    first, last = points[0][0], points[-1][0]
    columns = [float("nan")] * WIDTH
    for at, value in points:
        place = min(WIDTH - 1, int((at - first) / max(last - first, 1e-9) * WIDTH))
        columns[place] = value if columns[place] != columns[place] else max(columns[place], value)
    held = columns[0]
    for place, value in enumerate(columns):
        held = columns[place] = held if value != value else value
    low, high = min(columns), max(columns)
    span = max(high - low, abs(high) * 0.02, 1e-9)
    rows = []
    for row in range(HEIGHT, 0, -1):
        cells = []
        for value in columns:
            filled = ((value - low) / span * (HEIGHT - 0.125) + 0.125) - (row - 1)
            cells.append(BLOCKS[max(0, min(8, round(filled * 8)))])
        mark = f"{high:10.4g}" if row == HEIGHT else f"{low:10.4g}" if row == 1 else " " * 10
        rows.append(f"{mark} |{''.join(cells)}")
    foot = f"{'':10} +{first / 60:.0f}{'':{WIDTH - 8}}{last / 60:6.0f} min"
    return f"{title} [{unit}]\n" + "\n".join(rows) + f"\n{foot}"
