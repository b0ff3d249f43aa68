"""`jackstay --all COMMAND …`: one command at every agent that should be here, exactly as it runs at one.

Looking commands go on past an agent that does not answer and say so. Changing ones are careful: nothing is changed
unless every agent answers, agents are taken one by one, and the first that fails, or warns, stops the round; what was
done and what was not is said. What names one order or one bot goes to the agent that knows it. The exit code is the
worst of them: 0 fine, 1 unhealthy or refused, 2 usage, 3 no agent.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import Any, TextIO

import click
from click.core import ParameterSource

from jackstay_protocols.errors import TradingBotError

from ..control import ask
from .fleet import PROBE_WITHIN_S, Expected, Presence, Seen, expected, look

EXIT_UNHEALTHY, EXIT_USAGE, EXIT_NO_AGENT = 1, 2, 3

#: Commands that change nothing. One that is not here is treated as one that does.
LOOKING = frozenset(
    {
        *("status", "why", "queue list", "queue show", "queue export", "orders unknown", "breakers", "breakers list"),
        *("limits", "mode", "errors", "errors kinds", "patterns list", "patterns show", "trends", "state summary"),
        *("state check", "state diff", "state history", "audit verify", "audit export", "report", "bot list"),
        *("watchdog", "barrier", "recover", "deadman status", "connections list", "connections show", "feeds list"),
        *("watch", "feeds show", "keys list", "keys check", "config show", "doctor", "logs"),
        "upgrade",
    }
)
#: What names one order, or one bot: asked for at each agent, done where it is known.
ORDER, BOT = "order", "bot"
ADDRESSED = {
    "why": ORDER,
    "queue show": ORDER,
    "queue drop": ORDER,
    "queue hold": ORDER,
    "queue release": ORDER,
    "orders resolve": ORDER,
    "bot hold": BOT,
    "bot release": BOT,
    "bot expect-restart": BOT,
    "barrier release": BOT,
}
#: What reads files, or asks whether the agent is there: of a dead one too.
ALSO_OF_THE_DEAD = frozenset(
    {*("doctor", "logs", "config show", "audit verify", "audit export", "keys list", "keys check")}
)
#: Commands that gather from all agents by themselves, with an --all of their own.
GATHERING = frozenset({"report", "watch"})
#: About one agent, or about none.
ALONE = frozenset(
    {
        *("feeds tail", "keys add", "config check", "config init", "init", "rehearse", "run", "exec", "bench"),
        *("handover", "rollback"),
    }
)


@dataclass
class Words:
    """A command line, understood as far as fanning out needs."""

    path: str  # "orders resolve"
    head: list[str]
    tail: list[str]
    leaf: click.Command
    params: dict[str, Any]
    given: dict[str, Any]  # of them, what was typed

    @property
    def changes(self) -> bool:
        return self.path not in LOOKING and not self.params.get("dry_run")

    @property
    def as_json(self) -> bool:
        return bool(self.params.get("as_json"))

    def at(self, name: str) -> list[str]:
        """The same words, about that agent."""
        arguments = [each.name for each in self.leaf.params if isinstance(each, click.Argument)]
        if "name" not in arguments:
            return [*self.head, "--agent", name, *self.tail]
        first = arguments[0] == "name"
        return [*self.head, name, *self.tail] if first else [*self.head, *self.tail, name]


@dataclass
class Round:
    """What came of each agent, in the order they were taken."""

    codes: dict[str, int] = field(default_factory=dict)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    stopped: str = ""

    @property
    def worst(self) -> int:
        return max(self.codes.values(), default=0)


def fan_out(root: click.Group, words: list[str], *, keep_going: bool) -> int:
    """Run the words at every expected agent; the worst exit code."""
    asked = understood(root, words)
    if asked.path in GATHERING:
        return _run(root, [*asked.head, "--all", *asked.tail])
    agents, problems = expected(asked.params.get("runtime_dir"))
    for problem in problems:
        click.echo(f"jackstay: {problem}", err=True)
    if not agents:
        click.echo("jackstay: no agent is configured, wanted by a unit, or running here", err=True)
        return EXIT_NO_AGENT
    if asked.path == "status":
        from .status import show_fleet

        timeout_s = asked.given.get("timeout_s", PROBE_WITHIN_S)
        return show_fleet(look(agents, timeout_s=timeout_s), as_json=asked.as_json)
    seen = look(agents, verb="ping")
    thing = ADDRESSED.get(asked.path)
    if thing is not None and _subject(asked):
        return _at_the_one_that_knows(root, asked, seen, thing)
    missing = [each for each in seen if each.presence is not Presence.UP]
    if asked.changes and missing and not keep_going:
        _tell_missing(missing)
        left = "nothing was changed; --keep-going leaves those out"
        click.echo(f"jackstay: {len(missing)} of {len(seen)} agents do not answer: {left}", err=True)
        return EXIT_NO_AGENT
    return _tell_round(asked, _one_by_one(root, asked, seen, keep_going=keep_going), seen)


def understood(root: click.Group, words: list[str]) -> Words:
    """Which command the words name. Raises UsageError where it is not one that every agent can be asked."""
    command: click.Command = root
    # click keeps the help option it made first: with the names of ours, or the command line's own help loses them
    ctx = click.Context(root, info_name="jackstay", **root.context_settings)
    head: list[str] = []
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(ctx, rest[0])
        if found is None:
            raise click.UsageError(f"no such command {' '.join([*head, rest[0]])!r}", ctx)
        command = found
        head.append(rest.pop(0))
        ctx = click.Context(command, parent=ctx, info_name=head[-1])
    path = " ".join(head)
    if isinstance(command, click.Group):
        inner = [word for word in rest if command.get_command(ctx, word) is not None]
        if inner:
            raise click.UsageError(f"options of '{inner[0]}' go after it: {path} {inner[0]} …", ctx)
        if not command.invoke_without_command:
            raise click.UsageError(f"a command is expected after '{' '.join(['--all', *head])}'", ctx)
    if path in ALONE or not any(each.name == "name" for each in command.params):
        raise click.UsageError(f"'{path}' is not about one agent among several; leave --all out", ctx)
    parsed = command.make_context(path, list(rest), parent=ctx.parent, resilient_parsing=True)
    params = parsed.params
    if params.get("follow"):
        raise click.UsageError("--follow follows one agent; leave --all out", ctx)
    given = {
        name: value
        for name, value in params.items()
        if parsed.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    if "name" in given:
        raise click.UsageError(f"--all means every agent; leave {given['name']!r} out", ctx)
    return Words(path, head, rest, command, params, given)


def _subject(asked: Words) -> str:
    """The order or bot that the words name: the leaf's own argument."""
    found = next((asked.params.get(key) for key in ("id_", "bot_id") if asked.params.get(key)), None)
    return str(found or "")


def _at_the_one_that_knows(root: click.Group, asked: Words, seen: list[Seen], thing: str) -> int:
    subject = _subject(asked)
    there = [each.agent for each in seen if each.presence is Presence.UP]
    missing = [each for each in seen if each.presence is not Presence.UP]
    knowing = [each for each in there if _knows(each, thing, subject)]
    if len(knowing) > 1 and asked.changes:
        names = ", ".join(each.name for each in knowing)
        raise click.UsageError(f"{thing} {subject!r} is known to {names}: say which with --agent, without --all")
    if not knowing:
        click.echo(f"jackstay: no agent that answers knows {thing} {subject!r}", err=True)
        _tell_missing(missing)
        return EXIT_NO_AGENT if missing else EXIT_UNHEALTHY
    chosen = [each for each in seen if each.agent in knowing]
    code = _tell_round(asked, _one_by_one(root, asked, chosen, keep_going=True), chosen)
    if missing:
        click.echo(f"jackstay: not asked, for they do not answer: {', '.join(each.agent.name for each in missing)}",
                   err=True)  # fmt: skip
    return code


def _knows(agent: Expected, thing: str, subject: str) -> bool:
    try:
        if thing == ORDER:
            return bool(ask(agent.paths.control, "why", {"id": subject}, timeout_s=10.0)["intents"])
        facts = ask(agent.paths.control, "status", timeout_s=10.0)
        return subject in facts["watchdog"]["bots"] or any(each["bot"] == subject for each in facts["bots"])
    except TradingBotError:
        return False


def _one_by_one(root: click.Group, asked: Words, seen: list[Seen], *, keep_going: bool) -> Round:
    done = Round()
    for each in seen:
        name = each.agent.name
        if each.presence is not Presence.UP and asked.path not in ALSO_OF_THE_DEAD:
            done.codes[name] = EXIT_UNHEALTHY if each.presence is Presence.REFUSED else EXIT_NO_AGENT
            done.answers[name] = {"error": each.why}
            if not asked.as_json:
                click.secho(f"== {name}", bold=True)
                click.echo(f"{each.presence.upper()}: {each.why}")
            continue
        if not asked.as_json:
            click.secho(f"== {name}", bold=True)
        code, out, warned = _at(root, asked, each.agent)
        done.codes[name] = code
        done.answers[name] = _answer(out, warned) if asked.as_json else {}
        if asked.changes and not keep_going and (code or warned):
            done.stopped = name
            done.codes[name] = max(code, EXIT_UNHEALTHY)
            break
    return done


def _at(root: click.Group, asked: Words, agent: Expected) -> tuple[int, str, str]:
    """(exit code, stdout if it is wanted as JSON, what it warned of)."""
    kept = io.StringIO()
    watched = _Watched(sys.stderr)
    with _meant(agent), redirect_stderr(watched):
        if asked.as_json:
            with redirect_stdout(kept):
                code = _run(root, asked.at(agent.name))
        else:
            code = _run(root, asked.at(agent.name))
    return code, kept.getvalue(), watched.said.strip()


def _run(root: click.Group, words: list[str]) -> int:
    """As the shell would see it."""
    try:
        root.main(args=words, prog_name="jackstay")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return 0


@contextmanager
def _meant(agent: Expected) -> Iterator[None]:
    """For whatever looks for an agent by itself: this one, where it was found."""
    before = {key: os.environ.get(key) for key in ("JACKSTAY_AGENT", "JACKSTAY_RUNTIME_DIR")}
    os.environ |= {"JACKSTAY_AGENT": agent.name, "JACKSTAY_RUNTIME_DIR": str(agent.paths.runtime.parent)}
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


class _Watched(io.TextIOBase):
    """Passes on what is written to stderr, and remembers that something was: a warning."""

    def __init__(self, to: TextIO) -> None:
        self._to = to
        self.said = ""

    def write(self, text: str) -> int:
        self.said += text
        return self._to.write(text)

    def flush(self) -> None:
        self._to.flush()


def _answer(out: str, warned: str) -> dict[str, Any]:
    """What a command printed: one JSON value, or one a line."""
    try:
        value: Any = json.loads(out)
    except ValueError:
        try:
            value = [json.loads(line) for line in out.splitlines() if line.strip()]
        except ValueError:
            value = out
    return {"answer": value, "error": warned}


def _tell_missing(missing: list[Seen]) -> None:
    for each in missing:
        click.echo(f"{each.agent.name} {each.presence.upper()}: {each.why}", err=True)


def _tell_round(asked: Words, done: Round, seen: list[Seen]) -> int:
    not_taken = [each.agent.name for each in seen if each.agent.name not in done.codes]
    if asked.as_json:
        presence = {each.agent.name: str(each.presence) for each in seen}
        agents = {
            name: {"presence": presence[name], "exit": code, **done.answers[name]} for name, code in done.codes.items()
        }
        click.echo(json.dumps({"agents": agents, "exit": done.worst, "not_taken": not_taken}))
    elif done.stopped:
        fine = [name for name, code in done.codes.items() if code == 0]
        after = f"done: {', '.join(fine) or 'none'}; not taken: {', '.join(not_taken) or 'none'}"
        click.echo(f"stopped at {done.stopped}; {after}", err=True)
    return done.worst
