"""The user's configuration for an agent that is only measured: what shapes its speed, and nothing that reaches out.

Taken over are the queue, the pools, the audit log, analytics and overload sections. Left out are keys, venues' places,
feeds, webhooks, folders and doors to other machines: the agent that is measured knows the simulated exchange alone.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from .config import Config

TAKEN = ("connections", "queue", "audit", "analytics", "overload")
#: Places and ways out, by section.
LEFT_OUT = {
    "audit": frozenset({"folder", "key_file", "anchor_webhook", "anchor_journal"}),
    "connections": frozenset({"local_address"}),
}
HOST = "api.binance.com"


def measured_config(config: Config, exchange_url: str) -> str:
    """TOML for the agent that is measured; values that are the defaults are not repeated."""
    lines = ["[upstreams]", f'"{HOST}" = {json.dumps(exchange_url)}', "[agent]", 'log_level = "warning"']
    # the pace is the machine's: an exchange's own limits would end it after a hundred orders
    lines += ["[venues.binance]", "live = false", "[venues.binance.limits]", "weight_1m = 0", "orders_10s = 0"]
    for name in TAKEN:
        own: dict[str, Any] = msgspec.to_builtins(getattr(config, name))
        usual: dict[str, Any] = msgspec.to_builtins(getattr(Config(), name))
        changed = {
            key: value
            for key, value in own.items()
            if value != usual.get(key) and key not in LEFT_OUT.get(name, ()) and _plain(value)
        }
        if name == "audit":
            changed["anchor_journal"] = False
        if changed:
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in changed.items())]
    return "\n".join(lines) + "\n"


def _plain(value: object) -> bool:
    """What TOML writes as JSON does."""
    if isinstance(value, list):
        return all(isinstance(each, bool | int | float | str) for each in value)
    return isinstance(value, bool | int | float | str)
