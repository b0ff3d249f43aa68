"""The key that seals the audit log: 32 random bytes in a file that only the agent's own uid can read.

A key that others can read seals nothing, so it is refused, not used. Losing the key does not lose the log: the chain
and the anchors are checked without it, and a new key is a new log's.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from jackstay_protocols.errors import SecurityError, ValidationError

from ..core.audit_chain import KEY_BYTES


def read_key(path: Path) -> bytes:
    """Raises FileNotFoundError, PermissionError; SecurityError if others may read it, ValidationError if it is none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        facts = os.fstat(descriptor)
        if facts.st_mode & 0o077:
            raise SecurityError(
                f"{path} has mode {stat.S_IMODE(facts.st_mode):04o}: others may read the audit key; chmod 600 it"
            )
        key = os.read(descriptor, KEY_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(key) != KEY_BYTES:
        raise ValidationError(f"{path} holds {len(key)} bytes; an audit key of {KEY_BYTES} bytes is expected")
    return key


def own_key(path: Path) -> bytes:
    """The key, made at the first start. It is on the disk before it is used."""
    try:
        return read_key(path)
    except FileNotFoundError:
        pass
    key = os.urandom(KEY_BYTES)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, key)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(fresh, path)  # a torn key would make a log nobody can check
    return key
