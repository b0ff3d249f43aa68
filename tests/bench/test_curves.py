"""The picture of the scaling curves: drawn without a plotting library, and the one in docs shows them all."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.curves_svg import Panel, svg

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "scaling.svg"
SVG = "{http://www.w3.org/2000/svg}"


def test_a_panel_is_drawn_to_scale() -> None:
    """Logarithmic to the right, linear upwards, the largest inside the frame; text is escaped."""
    lines = {"a<b": [(0.0, 0.0), (10.0, 50.0), (100.0, 100.0)]}
    root = ElementTree.fromstring(svg([Panel("units & more", "count", "us", lines)]))
    (line,) = root.iter(f"{SVG}polyline")
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert points == [(0.0, 150.0), (150.0, 112.5), (300.0, 75.0)]
    texts = [each.text for each in root.iter(f"{SVG}text")]
    assert {"units & more", "a<b", "200", "100"} <= set(texts)


@pytest.mark.parametrize("words", ["WebSockets", "Symbols", "Readers", "Agents of a host", "Orders waiting"])
def test_the_picture_in_docs_shows_every_curve(words: str) -> None:
    """Written by `bench_scaling.py --svg`; a curve that is dropped from it is noticed."""
    root = ElementTree.parse(PICTURE).getroot()
    titles = [each.text or "" for each in root.iter(f"{SVG}text")]
    assert any(title.startswith(words) for title in titles)
