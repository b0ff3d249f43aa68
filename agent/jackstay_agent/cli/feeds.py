"""`jackstay feeds`: market data as the agent sees it, and a look into a stream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from jackstay_protocols.messages import Lagged

from ..feed_tail import tail as read_feed
from .tables import table
from .target import agent_option, ask_agent, existing_agent

COLUMNS = (
    "feed",
    "url",
    "dialect",
    "topics",
    "readers",
    "sockets",
    "live",
    "messages",
    "gaps",
    "rotated",
    "last_error",
)


@click.group()
def feeds() -> None:
    """Market data: feeds, their topics and sockets, and what comes in.

    \b
    jackstay feeds list
    jackstay feeds show spot
    jackstay feeds tail spot btcusdt@trade --count 5
    """


@feeds.command("list")
@agent_option
def list_(name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Every configured feed with its topics, readers, sockets, messages and gaps."""
    facts = ask_agent(name, runtime_dir, "feeds.list")
    if as_json:
        click.echo(json.dumps(facts))
        return
    table(facts["feeds"], COLUMNS)
    click.echo(f"{len(facts['readers'])} readers, {facts['dropped']} messages dropped for slow ones")


@feeds.command()
@click.argument("feed", metavar="FEED")
@agent_option
def show(feed: str, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """One feed's sockets and topics."""
    facts = ask_agent(name, runtime_dir, "feeds.show", feed=feed)
    if as_json:
        click.echo(json.dumps(facts))
        return
    click.echo(f"{facts['feed']} {facts['url']} {facts['dialect']}, rotated {facts['rotated']}")
    sockets = ("socket", "state", "topics", "connects", "up_s", "data_age_s", "latency_ms", "quality", "last_error")
    table(facts["sockets"], sockets)
    topics = [{"topic": topic, **each} for topic, each in facts["topics"].items()]
    table(topics, ("topic", "readers", "seq", "gaps", "awaited", "socket"))


@feeds.command()
@click.argument("feed", metavar="FEED")
@click.argument("topics", metavar="[TOPIC]...", nargs=-1)
@click.option("--count", "-n", default=0, help="End after this many messages.")
@click.option("--for-silence", "silent_s", default=0.0, help="End after so many seconds without one.")
@click.option("--events", is_flag=True, help="Mix in the agent's events.")
@agent_option
def tail(
    feed: str,
    topics: tuple[str, ...],
    count: int,
    silent_s: float,
    events: bool,
    name: str | None,
    runtime_dir: Path | None,
    as_json: bool,
) -> None:
    """Print what comes in on these topics; like any reader, it subscribes them if nobody has."""
    path = existing_agent(name, runtime_dir).feed
    seen = 0
    for item in read_feed(path, feed, topics, events=events, silent_s=silent_s):
        if isinstance(item, tuple):
            topic, sequence, payload = item
            text = payload.decode(errors="replace")
            line: dict[str, Any] = {"topic": topic, "sequence": sequence, "payload": text}
            click.echo(json.dumps(line) if as_json else f"{topic} {sequence} {text}")
            seen += 1
            if seen == count:
                return
        elif isinstance(item, Lagged):
            line = {"topic": item.topic, "missed": item.missed}
            click.echo(json.dumps(line) if as_json else f"{item.topic} … {item.missed} missed")
        else:
            line = {"event": item.name, "at_us": item.at_us, **item.fields}
            click.echo(json.dumps(line, default=str) if as_json else f"* {item.name} {item.fields}")
