"""`jackstay queue`, `orders` and `why`: what waits, what is unknown, and a person's word on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .tables import table
from .target import agent_option, ask_agent


@click.group()
def queue() -> None:
    """Requests that are accepted and have not left: look, hold, let go, drop.

    \b
    jackstay queue list
    jackstay queue hold 1795485382000253
    jackstay queue drop 1795485382000253 --why "entered twice by hand"
    jackstay queue export > intents.jsonl
    """


@queue.command("list")
@agent_option
def list_(name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """What waits in the queue, oldest first."""
    facts = ask_agent(name, runtime_dir, "queue.list")
    if as_json:
        click.echo(json.dumps(facts))
        return
    table(facts["queued"], ("id", "age_s", "ttl_s", "lane", "venue", "symbol", "side", "client_order_id", "held"))
    click.echo(f"{facts['total']} queued")


@queue.command()
@click.argument("id_", metavar="ID")
@agent_option
def show(id_: str, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """All that is kept of one request."""
    _tell([ask_agent(name, runtime_dir, "queue.show", id=id_)], as_json)


def _hold_command(verb: str, words: str) -> click.Command:
    @click.argument("id_", metavar="ID", required=False)
    @click.option("--all", "every", is_flag=True, help="Everything that is queued now.")
    @agent_option
    def command(id_: str | None, every: bool, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
        if bool(id_) == every:
            raise click.UsageError("an ID or --all is expected")
        facts = ask_agent(name, runtime_dir, f"queue.{verb}", id=id_ or "", all=every)
        click.echo(json.dumps(facts) if as_json else f"{len(facts['ids'])} {words}")

    return click.command(verb, help=f"{verb.capitalize()} a queued request; it still expires with its time to live.")(
        command
    )


queue.add_command(_hold_command("hold", "held"))
queue.add_command(_hold_command("release", "released"))


@queue.command()
@click.argument("id_", metavar="ID")
@click.option("--why", required=True, help="Recorded with your uid.")
@agent_option
def drop(id_: str, why: str, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Take a queued request out for good; the bot is told that it was not sent."""
    facts = ask_agent(name, runtime_dir, "queue.drop", id=id_, why=why)
    click.echo(json.dumps(facts) if as_json else f"{facts['id']} {facts['state']}: {facts['why']}")


@queue.command()
@agent_option
def export(name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Everything the outbox keeps, one JSON object per line; without headers and bodies."""
    after = 0
    while True:
        page = ask_agent(name, runtime_dir, "queue.export", after=after)["intents"]
        for each in page:
            click.echo(json.dumps(each, default=str))
        if not page:
            return
        after = int(page[-1]["seq"])


@click.group()
def orders() -> None:
    """Orders nobody is sure of.

    \b
    jackstay orders unknown
    jackstay orders resolve 1795485382000253 --absent --why "not in the venue's order history"
    """


@orders.command()
@agent_option
def unknown(name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Orders whose outcome is unknown; equal ones are refused and others of their side wait meanwhile."""
    facts = ask_agent(name, runtime_dir, "orders.unknown")
    if as_json:
        click.echo(json.dumps(facts))
        return
    table(facts["unknown"], ("id", "unknown_s", "not_found", "bot", "venue", "symbol", "side", "client_order_id"))
    click.echo(f"{facts['total']} unknown")


@orders.command()
@click.argument("id_", metavar="ID")
@click.option("--absent", "finding", flag_value="absent", help="The venue never took it.")
@click.option("--done", "finding", flag_value="done", help="The venue took it.")
@click.option("--why", required=True, help="What you looked at. Recorded with your uid.")
@agent_option
def resolve(id_: str, finding: str | None, why: str, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Settle an unknown order by your word, after you looked at the venue; recorded as a person's word."""
    if finding is None:
        raise click.UsageError("--absent or --done is expected")
    facts = ask_agent(name, runtime_dir, "orders.resolve", id=id_, finding=finding, why=why)
    click.echo(json.dumps(facts) if as_json else f"{facts['id']} {facts['state']}: {facts['why']}")


@click.command()
@click.argument("id_", metavar="ID")
@agent_option
def why(id_: str, name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """What became of an order: ID is an intent's number, a client order id or an idempotency key."""
    _tell(ask_agent(name, runtime_dir, "why", id=id_)["intents"], as_json)


def _tell(stories: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"intents": stories}, default=str))
        return
    for story in stories:
        intent, ending = story["intent"], story["ending"]
        click.echo(f"{story['seq']}  {story['state']}")
        click.echo(f"  {intent['method']} {intent['path']} by {intent['bot_id']} on {intent['connection_id']}")
        order = " ".join(f"{name}={value}" for name, value in intent["fields"].items())
        click.echo(f"  order    {order or 'none that could be read'}")
        click.echo(f"  ids      client {intent['client_order_id'] or '-'}  key {intent['key'] or '-'}")
        if ending is None:
            click.echo("  outcome  none yet")
            continue
        by = f" by {ending['said_by']}" if ending["said_by"] else ""
        click.echo(
            f"  outcome  {ending['state']} from {ending['source'] or '-'}{by}: {ending['why'] or ending['cause']}"
        )
        if ending["reply"]:
            click.echo(f"  venue    {ending['status'] or ''} {ending['reply'][:400]}")
