"""Read the configuration again without a restart: SIGHUP, `jackstay reload`, `systemctl reload`.

A file with a mistake changes nothing: the agent goes on with what it has, and says every mistake with its line. Of a
good one what can change under a running agent is changed (`LIVE`); for the rest the answer names the keys that wait
for a restart, which loses nothing either. Half a change is worse than none: a venue's breakers, budgets and pools are
built from the configuration they were made with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from jackstay_protocols.errors import ValidationError

from .config import Config, ConfigError
from .gateway.door import PeerCredentials

#: keys that change at once, by their place in the file
LIVE = frozenset(
    {
        ("agent", "log_level"),
        ("agent", "allow_uids"),
        ("agent", "allow_hosts"),
        ("agent", "drain_timeout_s"),
        ("bot", "beat_within_s"),
    }
)
#: of these only what is added is taken at once: who is in already, or is reached already, is let go by a restart
GROWING = frozenset({("agent", "allow_uids"), ("agent", "allow_hosts")})

Key = tuple[str, ...]


def changed_keys(old: Config, new: Config) -> list[Key]:
    """Which keys differ, as (section, key); a section that is a table of names is one key per name."""
    found: list[Key] = []
    for section in msgspec.structs.fields(Config):
        before, after = getattr(old, section.name), getattr(new, section.name)
        if before == after:
            continue
        if isinstance(before, Mapping):
            names = sorted(before.keys() | after.keys())
            found += [(section.name, name) for name in names if before.get(name) != after.get(name)]
        else:
            found += [
                (section.name, field.name)
                for field in msgspec.structs.fields(type(before))
                if getattr(before, field.name) != getattr(after, field.name)
            ]
    return found


def is_live(key: Key, old: Config, new: Config) -> bool:
    """Whether this change can be made under a running agent."""
    if key not in LIVE:
        return False
    section, name = key
    before, after = getattr(getattr(old, section), name), getattr(getattr(new, section), name)
    return key not in GROWING or set(before) <= set(after)


def with_keys(old: Config, new: Config, keys: list[Key]) -> Config:
    """The old configuration with the new one's values of these keys."""
    sections: dict[str, Any] = {}
    for section, key in keys:
        part = sections.get(section, getattr(old, section))
        sections[section] = msgspec.structs.replace(part, **{key: getattr(getattr(new, section), key)})
    return msgspec.structs.replace(old, **sections)


class Reloader:
    """Holds what is in force and what the file said last."""

    def __init__(
        self,
        config: Config,
        *,
        load: Callable[[], tuple[Config, str]],
        adopt: Callable[[Config], None],
        say: Callable[[str], bool],
        clock_us: Callable[[], int],
        on_event: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self.config = config
        self._load = load
        self._adopt = adopt
        self._say = say
        self._clock_us = clock_us  # CLOCK_MONOTONIC, as systemd compares it
        self._on_event = on_event
        self.waiting: list[str] = []  # keys that differ from what runs and need a restart
        self.refused = ""

    def verbs(self) -> dict[str, Callable[[dict[str, Any], PeerCredentials | None], dict[str, Any]]]:
        return {"reload": lambda _args, who: self.reload(who.uid if who else None)}

    def reload(self, uid: int | None) -> dict[str, Any]:
        """What changed, and what waits for a restart. Raises ConfigError: then nothing changed."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={self._clock_us()}")
        try:
            return self._reload(uid)
        finally:
            self._say("READY=1")

    def _reload(self, uid: int | None) -> dict[str, Any]:
        try:
            new, origin = self._load()
        except ValidationError as error:
            problems = error.problems if isinstance(error, ConfigError) else [str(error)]
            self.refused = problems[0]
            self._on_event("config.refused", {"uid": uid, "problems": problems[:20]})
            raise ValidationError(f"{error}; the configuration in force is unchanged") from error
        self.refused = ""
        keys = changed_keys(self.config, new)
        live = [key for key in keys if is_live(key, self.config, new)]
        self.waiting = [".".join(key) for key in keys if key not in live]
        if live:
            self.config = with_keys(self.config, new, live)
            self._adopt(self.config)
        told = {"file": origin, "changed": [".".join(key) for key in live], "needs_restart": list(self.waiting)}
        self._on_event("config.reloaded", {"uid": uid, **told})
        return told

    def summary(self) -> str:
        """For the supervisor's status line; "" when the file and what runs agree."""
        if self.refused:
            return f"reload refused: {self.refused}"
        return f"a restart is needed for {', '.join(self.waiting[:3])}" if self.waiting else ""
