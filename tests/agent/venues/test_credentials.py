"""The agent's keys: read from three places, refused when others could read them, never shown."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest

from jackstay_agent.config import Config, ConfigError
from jackstay_agent.venues.credentials import (
    Credentials,
    KeySource,
    from_environment,
    from_file,
    from_systemd,
    parse,
)
from jackstay_protocols.errors import SecurityError, ValidationError

KEY, SECRET, PHRASE = "planted-key-1", "planted-secret-2", "planted-phrase-3"
LINES = f"# a comment\n\n[ignored]\nkey = {KEY}\nSecret = '{SECRET}'\npassphrase=\"{PHRASE}\"\n"
DOCUMENT = f'{{"key": "{KEY}", "secret": "{SECRET}", "passphrase": "{PHRASE}"}}'


def written(path: Path, text: str = LINES, mode: int = 0o600) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def is_ours(found: Credentials) -> bool:
    return (found.key, found.secret, found.passphrase) == (KEY, SECRET, PHRASE)


@pytest.mark.parametrize("text", [LINES, DOCUMENT], ids=["lines", "json"])
def test_a_file_of_our_own(tmp_path: Path, text: str) -> None:
    """Lines or JSON, 0600 or 0400."""
    assert is_ours(from_file(written(tmp_path / "key", text)))
    assert is_ours(from_file(written(tmp_path / "key2", text, 0o400)))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o610, 0o601, 0o644])
def test_a_file_others_can_get_at_is_refused(tmp_path: Path, mode: int) -> None:
    """The error says which mode, and what to run."""
    with pytest.raises(SecurityError, match=f"mode {mode:04o}.*chmod 600"):
        from_file(written(tmp_path / "key", mode=mode))


def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Whoever owns it can change what we trade with."""
    path = written(tmp_path / "key")
    owner = path.stat().st_uid
    if owner == 0:
        os.chown(path, 4242, 4242)
        owner = 4242
    with pytest.raises(SecurityError, match=f"belongs to uid {owner}; uid {owner + 1} or root"):
        from_file(path, uid=owner + 1)


def test_a_systemd_credential(tmp_path: Path) -> None:
    """By its name; the group's read bit there is an access list's mask (0440), a writable one is refused."""
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    written(tmp_path / "binance", mode=0o440)
    assert is_ours(from_systemd("binance", environ))
    assert is_ours(KeySource(credential="binance").read(environ))
    written(tmp_path / "open", mode=0o444)
    with pytest.raises(SecurityError):
        from_systemd("open", environ)
    with pytest.raises(ValidationError, match="LoadCredential=binance"):
        from_systemd("binance", {})
    for name in ("", "..", "../binance", "a/b"):
        with pytest.raises(ValidationError, match="without a slash"):
            from_systemd(name, environ)


def test_the_environment() -> None:
    """Three variables with a common beginning; what is missing is named."""
    environ = {"ACME_KEY": KEY, "ACME_SECRET": f" {SECRET}\n", "ACME_PASSPHRASE": PHRASE}
    assert is_ours(from_environment("acme_", environ))
    assert is_ours(KeySource(env="ACME").read(environ))
    with pytest.raises(ValidationError, match="ACME_SECRET is not set"):
        from_environment("ACME", {"ACME_KEY": KEY})


@pytest.mark.parametrize(
    "text",
    [
        "", KEY, f"{KEY}\n{SECRET}\n", f"key = {KEY}\n", f"secret = {SECRET}\n", f"key = {KEY}\nkey = x\nsecret = s\n",
        f"apikey = {KEY}\n", "{", "{]", '{"key": 5, "secret": "s"}', f'{{"{SECRET}{SECRET}": 1}}', '{"kee": "x"}',
        f"key = {KEY}\nsecret = gr\u00fc\u00dfe{SECRET}\n",
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_without_quoting_it(text: str) -> None:
    """The line that is wrong may be the secret itself."""
    with pytest.raises(ValidationError) as error:
        parse(text, "a file")
    assert KEY not in str(error.value)
    assert SECRET not in str(error.value)


def test_what_is_no_credentials_file(tmp_path: Path) -> None:
    """Missing, a folder, a pipe (without waiting for a writer), too long, no text."""
    with pytest.raises(ValidationError, match="cannot be read"):
        from_file(tmp_path / "nothing")
    with pytest.raises(SecurityError, match="no regular file"):
        from_file(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(SecurityError, match="no regular file"):
        from_file(tmp_path / "pipe")
    with pytest.raises(ValidationError, match="larger than"):
        from_file(written(tmp_path / "long", "#" * 70_000))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "bytes").chmod(0o600)
    with pytest.raises(ValidationError, match="UTF-8"):
        from_file(tmp_path / "bytes")


def test_a_key_is_never_shown() -> None:
    """Not by repr, str, format or a traceback that prints it."""
    keys = Credentials(KEY, SECRET, PHRASE, origin="a test")
    shown = [repr(keys), str(keys), f"{keys}", f"{keys!r:>10}", repr([keys]), repr({"keys": keys})]
    try:
        raise RuntimeError(keys)
    except RuntimeError as error:
        shown.extend(traceback.format_exception(error))
    assert not [text for text in shown for secret in keys.secrets() if secret in text]
    assert keys.secrets() == (KEY, SECRET, PHRASE)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("{}", "found none"),
        ('{ file = "/k", env = "K" }', "file and env"),
        ('{ file = "relative" }', "absolute path"),
        ('{ credential = "a/b" }', "without a slash"),
        ('{ env = "A B" }', "underscores"),
        ('{ fiel = "/k" }', "did you mean 'file'"),
        ('{ key = "abc" }', "unknown key"),
    ],
)
def test_a_configuration_names_one_place_or_none(keys: str, words: str) -> None:
    """Two places, no place, a typing error, a key written into the file: refused by name."""
    with pytest.raises(ConfigError, match=words):
        Config.from_toml(f"[venues.binance]\nkeys = {keys}\n")
    assert Config.from_toml("[venues.binance]\n").venues["binance"].keys is None
    assert Config.from_toml('[venues.binance.keys]\nenv = "K"\n').venues["binance"].keys == KeySource(env="K")


def test_a_source_that_is_wrong_is_not_read() -> None:
    """Also when nobody checked the configuration."""
    with pytest.raises(ValidationError, match="found none"):
        KeySource().read({})
