"""An example for every command's help: its own, what the group above it shows of it, or the one here.

A command whose help shows none fails the table of commands (tests/e2e/test_every_command.py).
"""

from __future__ import annotations

import click

EXAMPLES: dict[str, tuple[str, ...]] = {
    "audit export": ("jackstay audit export mybot --since 2h --order grid1-42 > order.jsonl",),
    "audit verify": ("jackstay audit verify mybot",),
    "bot release": ("jackstay bot release grid1",),
    "breakers list": ("jackstay breakers list -a mybot --json",),
    "demo": ("jackstay demo",),
    "keys add": ("jackstay keys add mybot --venue binance < key.txt",),
    "mode release": ('jackstay mode release --all --by "state monitor" --why "looked at it"',),
    "patterns ack": ("jackstay patterns ack P17",),
    "patterns list": ("jackstay patterns list --all",),
    "patterns show": ("jackstay patterns show P17",),
    "queue show": ("jackstay queue show 1795485382000253",),
    "queue release": ("jackstay queue release --all",),
    "recover run": ("jackstay recover run network_disconnection venue=binance",),
    "sandbox": ("jackstay sandbox --port 8787 --seed 7",),
    "sandbox clock": ("jackstay sandbox clock -- -3000",),
    "sandbox fill": ("jackstay sandbox fill 1001 0.001",),
    "sandbox hours": ("jackstay sandbox hours BTCUSDT 09:30-16:00 --days mon-fri",),
    "sandbox price": ("jackstay sandbox price BTCUSDT 61500",),
    "sandbox sockets": ("jackstay sandbox sockets lifetime_s=60 --door spot",),
    "state diff": ("jackstay state diff --component orders",),
    "state history": ("jackstay state history --hours 24",),
    "trends": ("jackstay trends mybot",),
    "watchdog": ("jackstay watchdog -a mybot",),
    "upgrade": ("jackstay upgrade mybot --check",),
    "why": ("jackstay why grid1-42", "jackstay --all why 1795485382000253"),
}


def with_examples(command: click.Command, path: str) -> click.Command:
    """The command, and every one below it, with at least one example in its help where there is one."""
    _add(command, path, "")
    return command


def _add(command: click.Command, path: str, above: str) -> None:
    own = command.help or ""
    word = f"jackstay {path}"
    if not _shows(own, word):
        lines = [line.strip() for line in above.splitlines() if f"{line.strip()} ".startswith(f"{word} ")]
        found = lines or list(EXAMPLES.get(path, ()))
        if found:
            command.help = f"{own}\n\n\b\n" + "\n".join(found)
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            _add(each, f"{path} {name}", own)


def _shows(text: str, word: str) -> bool:
    return any(f"{line.strip()} ".startswith(f"{word} ") for line in text.splitlines())
