"""What a scraper sees of an agent: pages fetched over its socket, samples read by prometheus-client's own parsers."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_text

OPEN = "application/openmetrics-text; version=1.0.0"
MONITORING = Path(__file__).resolve().parents[1] / "docs" / "monitoring"


class Door(http.client.HTTPConnection):
    """A connection to metrics.sock that is kept open."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(self._path))

    def get(self, page: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        self.request(method, page, headers=headers)
        answer = self.getresponse()
        return answer.status, answer.read().decode()


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """(name, sorted labels) -> value. A page that breaks its own format raises ValueError."""
    families: Iterable[Any] = read_open(text) if text.endswith("# EOF\n") else read_text(text)
    return {
        (each.name, tuple(sorted(each.labels.items()))): float(each.value)
        for family in families
        for each in family.samples
    }


def value(text: str, name: str, **labels: str) -> float | None:
    return samples(text).get((name, tuple(sorted(labels.items()))))


def names_used() -> dict[str, set[str]]:
    """File -> every metric that its expressions name."""
    found = {}
    for path in (MONITORING / "alerts.yml", MONITORING / "dashboard.json"):
        text = path.read_text(encoding="utf-8")
        json.loads(text) if path.suffix == ".json" else None
        found[path.name] = set(re.findall(r"\bjackstay_[a-z_]+", text))
    return found
