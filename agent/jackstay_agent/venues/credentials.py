"""The agent's own keys: where they are read from, and who else could read them.

A key comes from systemd's credentials folder, a file of mode 0600, or the environment. A file that others can read or
that belongs to somebody else is refused: a key that leaked is no key. Nothing here ever shows a secret: not in repr,
not in errors.

A file is either ``name = value`` lines (key, secret, passphrase; ``#`` comments, quotes allowed) or a JSON object with
those names. In the environment, ``env = "BINANCE"`` reads BINANCE_KEY, BINANCE_SECRET and BINANCE_PASSPHRASE.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from jackstay_protocols.errors import SecurityError, ValidationError

FILE_BYTES_MAX = 64 * 1024  # the largest RSA key with room to spare
NAMES = ("key", "secret", "passphrase")


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key with its secret, and the passphrase some venues want. Shows nothing of them."""

    key: str = field(repr=False)
    secret: str = field(repr=False)
    passphrase: str = field(default="", repr=False)
    origin: str = "given"

    def __post_init__(self) -> None:
        for name in NAMES:
            value = getattr(self, name)
            if not all(" " <= each <= "~" for each in value):
                raise ValidationError(
                    f"credentials from {self.origin}: the {name} has characters that are no printable ASCII;"
                    " copy it again, without line breaks"
                )
        if not self.key or not self.secret:
            missing = " and ".join(name for name in ("key", "secret") if not getattr(self, name))
            raise ValidationError(f"credentials from {self.origin}: no {missing}; key and secret are expected")

    def secrets(self) -> tuple[str, ...]:
        """What must never be shown, for redaction."""
        return tuple(value for value in (self.key, self.secret, self.passphrase) if value)


class KeySource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a venue's key is: exactly one of these. Keys are named in a configuration, never written there."""

    credential: str = ""  # name of a systemd credential (LoadCredential=NAME:PATH)
    file: str = ""  # a file of mode 0600, by its absolute path
    env: str = ""  # BINANCE for BINANCE_KEY, BINANCE_SECRET and BINANCE_PASSPHRASE

    def problem(self) -> str:
        """What is wrong with it, in words; "" if nothing."""
        given = [name for name in ("credential", "file", "env") if getattr(self, name)]
        if len(given) != 1:
            return f"one of credential, file and env is expected, found {' and '.join(given) or 'none'}"
        if self.file and not Path(self.file).is_absolute():
            return f"file = {self.file!r}; an absolute path is expected"
        if self.credential and not _is_file_name(self.credential):
            return f"credential = {self.credential!r}; a name without a slash is expected"
        if self.env and not (self.env.replace("_", "").isalnum() and self.env.isascii()):
            return f"env = {self.env!r}; letters, digits and underscores are expected"
        return ""

    def read(self, environ: Mapping[str, str]) -> Credentials:
        """The key itself. Raises SecurityError if others could read it, ValidationError if it is missing or broken."""
        problem = self.problem()
        if problem:
            raise ValidationError(f"keys: {problem}")
        if self.credential:
            return from_systemd(self.credential, environ)
        return from_file(Path(self.file)) if self.file else from_environment(self.env, environ)


def _is_file_name(name: str) -> bool:
    return bool(name) and "/" not in name and "\0" not in name and name not in (".", "..")


def from_systemd(name: str, environ: Mapping[str, str]) -> Credentials:
    """A credential of this unit (LoadCredential=NAME:…). Raises SecurityError or ValidationError."""
    folder = environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder:
        raise ValidationError(
            f"credential {name!r}: $CREDENTIALS_DIRECTORY is not set; systemd sets it for a unit with"
            f" LoadCredential={name}:PATH"
        )
    if not _is_file_name(name):
        raise ValidationError(f"credential {name!r} is no file name; one without a slash is expected")
    return from_file(Path(folder) / name, forbidden=0o037)


def from_file(path: Path, *, uid: int | None = None, forbidden: int = 0o077) -> Credentials:
    """A file only its owner can read, who is ``uid`` (default: us) or root. Raises SecurityError, ValidationError.

    ``forbidden``: mode bits nobody may have set. systemd gives a unit's user its credential through an access list,
    whose mask shows as the group's read bit, in a folder only that user can enter: there 0440 is as good as 0400.
    """
    origin = str(path)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ValidationError(f"credentials file {origin} cannot be read: {error.strerror}") from None
    try:
        # judged by the open file, not by its name: what was checked is what is read
        _check_mode(origin, os.fstat(handle), os.geteuid() if uid is None else uid, forbidden)
        data = os.read(handle, FILE_BYTES_MAX + 1)
    finally:
        os.close(handle)
    if len(data) > FILE_BYTES_MAX:
        raise ValidationError(f"credentials file {origin} is larger than {FILE_BYTES_MAX} bytes; a short one is meant")
    try:
        return parse(data.decode("utf-8"), origin)
    except UnicodeDecodeError:
        raise ValidationError(f"credentials file {origin} is no UTF-8 text") from None


def _check_mode(origin: str, found: os.stat_result, uid: int, forbidden: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SecurityError(f"credentials file {origin} is no regular file")
    if found.st_uid not in (uid, 0):
        raise SecurityError(
            f"credentials file {origin} belongs to uid {found.st_uid}; uid {uid} or root is expected: chown it"
        )
    if stat.S_IMODE(found.st_mode) & forbidden:
        raise SecurityError(
            f"credentials file {origin} has mode {stat.S_IMODE(found.st_mode):04o}: others can get at it;"
            f" run: chmod 600 {origin}"
        )


def from_environment(prefix: str, environ: Mapping[str, str]) -> Credentials:
    """PREFIX_KEY, PREFIX_SECRET, PREFIX_PASSPHRASE. Raises ValidationError naming what is missing."""
    prefix = prefix.rstrip("_").upper()
    found = {name: environ.get(f"{prefix}_{name.upper()}", "").strip() for name in NAMES}
    for name in ("key", "secret"):
        if not found[name]:
            raise ValidationError(f"environment variable {prefix}_{name.upper()} is not set; it should hold the {name}")
    return Credentials(**found, origin=f"environment {prefix}_*")


def parse(text: str, origin: str) -> Credentials:
    """The file's text. Errors name lines and names, never values."""
    found = _from_json(text, origin) if text.lstrip().startswith("{") else _from_lines(text, origin)
    return Credentials(**found, origin=origin)


def _from_json(text: str, origin: str) -> dict[str, str]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ValidationError(f"credentials file {origin} begins like JSON and is none") from None
    found: dict[str, str] = {}
    for name, value in document.items():
        if name not in NAMES or not isinstance(value, str):
            raise ValidationError(f"credentials file {origin}: {_shown(name)}; texts named {', '.join(NAMES)} expected")
        found[name] = value.strip()
    return {"key": "", "secret": "", **found}


def _from_lines(text: str, origin: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith(("#", "[")):
            continue
        name, equals, value = line.partition("=")
        name, value = name.strip().lower(), value.strip()
        if not equals or name not in NAMES:
            # the line may be the secret itself: it is not quoted
            raise ValidationError(
                f"credentials file {origin}, line {number}: 'key = …', 'secret = …' or 'passphrase = …' is expected"
            )
        if name in found:
            raise ValidationError(f"credentials file {origin}, line {number}: {name} stands there twice")
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[name] = value
    return {"key": "", "secret": "", **found}


def _shown(name: object) -> str:
    return f"unknown name {name!r}" if isinstance(name, str) and len(name) <= 16 else "an unknown name"
