"""Pages and code say the same: tables are compared with what they describe, examples load, links lead somewhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from jackstay_agent import logs
from jackstay_agent.cli.root import main
from jackstay_agent.config import Config
from jackstay_agent.core.dialect import DIALECTS
from jackstay_agent.core.liveness import BotState
from jackstay_agent.core.outcome_tables import TABLES
from jackstay_agent.core.protection import TABLE, HoldScope, Preset
from jackstay_agent.venues.profile import KINDS, load_profile, shipped_profiles
from jackstay_protocols import codec, messages
from jackstay_protocols.directives import DIRECTIVES
from jackstay_protocols.errors import Lane

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "systemd").glob("*.md")])


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def between(text: str, mark: str) -> str:
    """What stands between <!-- mark ... --> and <!-- /mark -->."""
    found = re.search(rf"<!-- {mark}\b[^>]*-->\n(.*?)<!-- /{mark} -->", text, re.DOTALL)
    assert found, f"no section {mark}"
    return found.group(1)


def example(name: str, title: str) -> str:
    found = re.search(rf"<!-- example: {title} -->\n```toml\n(.*?)```", page(name), re.DOTALL)
    assert found, f"{name} has no example {title!r}"
    return found.group(1)


def prose(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def words(text: str) -> list[str]:
    """What stands in `backticks`, code blocks aside."""
    return re.findall(r"`([^`\n]+)`", prose(text))


def message_table() -> str:
    """The table as it has to stand in ARCHITECTURE.md."""
    lines = ["| kind | message | fields, in order |", "|---|---|---|"]
    for table, direction in ((messages.TO_AGENT, "to the agent"), (messages.TO_CLIENT, "to the client")):
        lines.append(f"| | *{direction}* | |")
        for kind, message in sorted(table.items()):
            fields = ", ".join(field.name for field in msgspec.structs.fields(message))
            lines.append(f"| {kind} | {message.__name__} | {fields} |")
    return "\n".join(lines) + "\n"


def protection_table() -> str:
    """The table as it has to stand in ARCHITECTURE.md: drawn from the one that decides."""
    lines = ["| a bot that is | " + " | ".join(Preset) + " |", "|---" * (len(Preset) + 1) + "|"]
    for state in BotState:
        cells = []
        for preset in Preset:
            cell = TABLE[state, preset]
            held = {HoldScope.BOT: "hold", HoldScope.GROUP: "hold its group"}.get(cell.hold)
            cancel = " and ".join({"entry": "entries", "exit": "exits"}[each] for each in sorted(cell.cancel))
            words = ", ".join(filter(None, (held, f"cancel {cancel}" if cancel else "")))
            cells.append(words if cell.act else f"*would* {words}")
        lines.append(f"| {state} | " + " | ".join(each or "–" for each in cells) + " |")
    return "\n".join(lines) + "\n"


def test_the_protection_table_is_the_one_that_decides() -> None:
    """ARCHITECTURE.md shows every state and preset as `core/protection.TABLE` has them."""
    assert between(page("docs/ARCHITECTURE.md"), "protection") == protection_table()


def directive_table() -> str:
    lines = ["| directive | field | it says |", "|---|---|---|"]
    for name, fields in DIRECTIVES.items():
        named = [f"`{name}`", *[""] * (len(fields) - 1)]
        lines += [f"| {word} | {field} | {says} |" for word, (field, says) in zip(named, fields.items(), strict=True)]
    return "\n".join(lines) + "\n"


def test_the_table_of_directives_is_the_code() -> None:
    """Names and fields; the message of a failure is the table to paste."""
    assert between(page("docs/CLIENT.md"), "directives") == directive_table(), "\n" + directive_table()


def test_the_table_of_messages_is_the_code() -> None:
    """Kinds, names and fields in order; the message of a failure is the table to paste."""
    assert between(page("docs/ARCHITECTURE.md"), "messages") == message_table(), "\n" + message_table()


def test_the_frame_header_is_the_code() -> None:
    """Its size, and where the body begins."""
    text = page("docs/ARCHITECTURE.md")
    assert f"a header of {codec.HEADER_BYTES} bytes" in text
    assert f"\n| {codec.HEADER_BYTES} | … | body |" in text


def test_every_dependency_has_its_reason() -> None:
    """The page lists exactly the packages of pyproject.toml."""
    project = tomllib.loads(page("pyproject.toml"))["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    names = {re.split(r"[^A-Za-z0-9._-]", each, maxsplit=1)[0] for each in wanted} - {"jackstay"}
    rows = re.findall(r"^\| ([a-z0-9-]+) \| (.+) \|$", page("docs/DEPENDENCIES.md"), re.MULTILINE)
    listed = {name for name, _reason in rows} - {"package"}
    assert listed == names
    assert all(len(reason) > 10 for name, reason in rows if name in names)


def test_every_command_is_on_the_operators_page() -> None:
    """A new command gets its line."""
    text = page("docs/OPERATIONS.md")
    missing = [name for name in main.list_commands(None) if f"`jackstay {name}" not in text]  # type: ignore[arg-type]
    assert not missing


def test_every_event_that_asks_for_attention_is_explained() -> None:
    """Warnings and errors of the log."""
    assert not (logs.WARNINGS | logs.ERRORS) - set(words(page("docs/OPERATIONS.md")))


def test_the_example_configuration_is_valid() -> None:
    """It loads, and says what the page says of it."""
    config = Config.from_toml(example("docs/OPERATIONS.md", "a configuration"))
    assert config.agent.drain_timeout_s == Config().agent.drain_timeout_s


def test_the_example_profile_is_valid() -> None:
    """It loads, and uses every lane and field that the page explains."""
    profile = load_profile(example("docs/VENUES.md", "a profile"), "docs/VENUES.md")
    assert profile.route("DELETE", "/v1/order").lane is Lane.DERISK
    assert not profile.expects_json(profile.route("POST", "/v1/session"))
    assert {rule.name for rule in profile.budgets} == {"weight_1m"}


def test_the_page_of_venues_lists_what_there_is() -> None:
    """Outcome tables, dialects, shipped profiles, kinds of routes."""
    text = page("docs/VENUES.md")
    assert words(between(text, "tables")) == sorted(TABLES)
    assert words(between(text, "dialects")) == [*sorted(DIALECTS), "template"]
    assert set(shipped_profiles()) <= set(words(text))
    assert KINDS - {"unlisted"} <= set(words(text))


def test_the_first_screen_shows_both_commands() -> None:
    """make demo and make test, before anything else a reader could try."""
    top = page("README.md")[:900]
    assert "make demo" in top
    assert "make test" in top


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    """Relative links name files of this repository."""
    text = prose(path.read_text(encoding="utf-8"))
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    missing = [target for target in targets if not (path.parent / target.partition("#")[0]).exists()]
    assert not missing


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_named_files_exist(path: Path) -> None:
    """`tests/…`, `docs/…`, `agent/…` and the like in a page are there; a page about files that went is a lie."""
    pattern = r"`((?:tests|docs|agent|client|protocols|systemd)/[A-Za-z0-9_./@-]*)`"
    named = [name for name in re.findall(pattern, path.read_text(encoding="utf-8")) if "NAME" not in name]
    assert not [name for name in named if not (ROOT / name.rstrip("/")).exists()]
