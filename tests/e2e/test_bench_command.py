"""`jackstay bench`: real processes on this machine, the user's own configuration, and nothing else of the user's."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from harness import cli
from jackstay_agent import Config
from jackstay_agent.bench_config import measured_config
from jackstay_agent.core.speed import MEASURES

CONFIG = """
[queue]
durability = "disk"
[audit]
fsync = "always"
folder = "/var/log/of/the/user"
anchor_webhook = "https://alerts.example/anchor"
[venues.binance.keys]
env = "REAL"
[feeds.spot]
url = "wss://stream.binance.com:9443/stream"
dialect = "binance"
[metrics]
listen = "127.0.0.1:9464"
"""


def test_every_row_is_measured_and_the_exit_code_says_what_they_say(tmp_path: Path) -> None:
    """Ends 0 when nothing is slow and 1 when something is; the rows name what, and what to do."""
    config = tmp_path / "mine.toml"
    config.write_text('[queue]\ndurability = "disk"\n', encoding="utf-8")
    asked = ("bench", "mine", "-c", str(config), "--seconds", "0.2", "--json")
    for tolerance, code in (("1000", 0), ("0.01", 1)):
        done = cli(*asked, "--tolerance", tolerance, runtime_dir=tmp_path, timeout_s=110)
        assert done.returncode == code, done.stderr
        told = json.loads(done.stdout)
        assert [row["name"] for row in told["rows"]] == [each.name for each in MEASURES]
        assert all(row["limit"] is not None for row in told["rows"])  # the disk too: this configuration waits for it
        assert told["slow"] == [row["name"] for row in told["rows"] if row["slow"]]
        assert bool(told["slow"]) == bool(code)
        assert all(row["mend"] for row in told["rows"] if row["slow"])
        assert {row["name"]: row["value"] > 0 for row in told["rows"]}["memory of the agent"]
        assert told["config"] == str(config)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["mine.toml"]  # nothing of it stays


def test_a_configuration_that_is_wrong_is_told_before_anything_is_started(tmp_path: Path) -> None:
    """With the line, as every command says it."""
    config = tmp_path / "mine.toml"
    config.write_text('[queue]\ndurability = "tape"\n', encoding="utf-8")
    done = cli("bench", "-c", str(config), runtime_dir=tmp_path)
    assert done.returncode == 1
    assert "durability" in done.stderr


def test_the_agent_that_is_measured_has_what_shapes_its_speed_and_no_way_out() -> None:
    """Neither keys nor real places, webhooks nor folders of the running agent."""
    text = measured_config(Config.from_toml(CONFIG), "http://127.0.0.1:1")
    measured = tomllib.loads(text)
    assert measured["queue"] == {"durability": "disk"}
    assert measured["audit"] == {"fsync": "always", "anchor_journal": False}
    assert measured["upstreams"] == {"api.binance.com": "http://127.0.0.1:1"}
    assert set(measured) == {"upstreams", "agent", "venues", "queue", "audit"}
    assert not {"keys"} & set(measured["venues"]["binance"])
    Config.from_toml(text)  # an agent can be made of it


@pytest.mark.parametrize("words", [("--seconds", "0"), ("--tolerance", "0"), ("--seconds", "soon")])
def test_senseless_options_are_usage_errors(words: tuple[str, ...]) -> None:
    """Exit 2, before anything is measured."""
    assert cli("bench", *words).returncode == 2
