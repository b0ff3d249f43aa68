"""The command line as an operator uses it: real processes, exit codes, JSON."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import zmq

from harness import AgentProcess, child_env, cli
from jackstay_agent.control import ask
from jackstay_protocols.codec import encode
from jackstay_protocols.endpoints import ipc
from jackstay_protocols.errors import AgentGone, Outcome
from jackstay_protocols.messages import Done


def test_status_of_a_running_agent_for_people_and_programs() -> None:
    """`status` shows the agent; `--json` is one JSON object."""
    with AgentProcess(name="one") as agent:
        shown = cli("status", runtime_dir=agent.runtime_dir)
        assert shown.returncode == 0
        assert "one" in shown.stdout
        facts = json.loads(cli("status", "one", "--json", runtime_dir=agent.runtime_dir).stdout)
        assert facts["agent"] == "one"
        assert facts["pid"] == agent.pid


def test_status_without_an_agent_is_exit_code_three(tmp_path: Path) -> None:
    """No agent is told apart from an unhealthy one."""
    done = cli("status", runtime_dir=tmp_path)
    assert done.returncode == 3
    assert "no agent found" in done.stderr
    assert cli("status", "ghost", "--json", runtime_dir=tmp_path).returncode == 3


def test_status_of_a_killed_agent_is_exit_code_three() -> None:
    """A socket file left by kill -9 is recognised as a leftover."""
    with AgentProcess() as agent:
        agent.kill()
        done = cli("status", agent.name, "--timeout", "1", runtime_dir=agent.runtime_dir)
        assert done.returncode == 3
        assert "leftover" in done.stderr


def test_a_stopped_agent_is_called_unresponsive() -> None:
    """SIGSTOP: the command gives up by its own clock and says so."""
    with AgentProcess() as agent:
        agent.signal(signal.SIGSTOP)
        done = cli("status", agent.name, "--timeout", "0.5", runtime_dir=agent.runtime_dir)
        agent.signal(signal.SIGCONT)
        assert done.returncode == 3
        assert "unresponsive" in done.stderr


def test_a_second_agent_of_the_same_name_is_refused() -> None:
    """The lock is taken before any bind: the first agent does not notice the attempt."""
    with AgentProcess(name="solo") as agent:
        done = cli("run", "solo", runtime_dir=agent.runtime_dir)
        assert done.returncode == 1
        assert "already runs" in done.stderr
        assert str(agent.pid) in done.stderr
        assert agent.status()["pid"] == agent.pid


def test_an_agent_that_ends_before_it_answers_is_not_waited_for(tmp_path: Path) -> None:
    """Told at once, and not by the command's own clock; what it did is not known. A last answer counts."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with ThreadPoolExecutor(1) as aside:
        for name, words in (("silent", None), ("answers", {"done": "yes"})):
            door = tmp_path / name  # a listener that is closed goes a little later: the next one would share its path
            agent = context.socket(zmq.ROUTER)
            agent.bind(ipc(door))
            asked = aside.submit(ask, door, "state.check", timeout_s=30.0)
            peer, _frame = agent.recv_multipart()
            if words is not None:
                agent.send_multipart([peer, encode(Done(words), id=1)])
            agent.close()
            if words is not None:
                assert asked.result(20) == words
                continue
            with pytest.raises(AgentGone, match="ended before it answered") as caught:
                asked.result(20)
            assert caught.value.outcome is Outcome.UNKNOWN
    context.term()


def test_a_name_in_the_wrong_place_is_told_its_place() -> None:
    """Some commands have words of their own there; the usage error says where the agent's name goes."""
    for words in (["bot", "list", "solo"], ["orders", "unknown", "solo"]):
        done = cli(*words)
        assert done.returncode == 2
        assert "(solo); the agent's name goes behind -a" in done.stderr


def test_sockets_left_by_a_crash_do_not_stop_the_next_agent() -> None:
    """After kill -9 the same name starts again over the stale files."""
    with AgentProcess() as agent:
        agent.kill()
        assert (agent.runtime_dir / agent.name / "bot.sock").exists()
        agent.start()
        assert agent.status()["state"] == "running"


def test_a_clean_stop_leaves_no_sockets_and_exit_code_zero() -> None:
    """SIGTERM: drained, closed, gone."""
    agent = AgentProcess()
    agent.start()
    assert agent.stop() == 0
    left = {path.name for path in (agent.runtime_dir / agent.name).iterdir()}
    assert left == {"agent.lock", "state"}, "the state stays: it is what the next start knows"


def test_stop_over_the_control_socket() -> None:
    """An operator can stop an agent without knowing its pid."""
    with AgentProcess() as agent:
        done = cli("stop", agent.name, "--json", runtime_dir=agent.runtime_dir)
        assert json.loads(done.stdout)["stopping"] is True
        assert agent.process is not None
        assert agent.process.wait(10) == 0


def test_the_runtime_folder_is_private() -> None:
    """Folder 0700, sockets 0600: the uid is the wall."""
    with AgentProcess() as agent:
        folder = agent.runtime_dir / agent.name
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for name in ("bot.sock", "feed.sock", "control.sock"):
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_a_socket_path_over_the_limit_is_refused_before_anything_happens(tmp_path: Path) -> None:
    """107 bytes is the system's bound; the message says which path and what to do."""
    long = tmp_path / ("x" * 120)
    done = cli("run", "t", "--runtime-dir", str(long))
    assert done.returncode == 1
    assert "107" in done.stderr
    assert not long.exists()


@pytest.mark.skipif(os.getuid() == 0 and not Path("/proc").exists(), reason="needs /proc")
def test_an_unwritable_folder_is_a_clear_error() -> None:
    """A read-only place is named together with the way out."""
    done = cli("run", "t", "--runtime-dir", "/proc/jackstay")
    assert done.returncode == 1
    assert "--runtime-dir" in done.stderr


def test_a_bad_agent_name_is_refused() -> None:
    """Names become folders and unit names."""
    done = cli("run", "../evil")
    assert done.returncode == 1
    assert "agent name" in done.stderr


def test_config_check_lists_every_problem(tmp_path: Path) -> None:
    """Exit code 1 and one line per problem; 0 and 'ok' when there is none."""
    path = tmp_path / "c.toml"
    path.write_text('[agent]\nlog_levle = "x"\n[bto]\n', encoding="utf-8")
    done = cli("config", "check", str(path))
    assert done.returncode == 1
    assert done.stderr.count("c.toml:") == 2
    facts = json.loads(cli("config", "check", str(path), "--json").stdout)
    assert len(facts["problems"]) == 2
    path.write_text("", encoding="utf-8")
    assert cli("config", "check", str(path)).returncode == 0


def test_an_agent_with_a_bad_config_does_not_start(tmp_path: Path) -> None:
    """Every problem is printed, nothing is bound."""
    path = tmp_path / "c.toml"
    path.write_text('[agent]\nlog_levle = "x"\n', encoding="utf-8")
    done = cli("run", "t", "-c", str(path), runtime_dir=tmp_path)
    assert done.returncode == 1
    assert "did you mean" in done.stderr
    assert not (tmp_path / "t").exists()


def test_live_credentials_with_a_rerouted_host_refuse_to_start(tmp_path: Path) -> None:
    """Real keys are not sent to another host unless somebody said so."""
    path = tmp_path / "c.toml"
    path.write_text(
        '[upstreams]\n"api.binance.com" = "http://127.0.0.1:1"\n[venues.binance]\nkeys = { env = "K" }\n',
        encoding="utf-8",
    )
    done = cli("run", "t", "-c", str(path), runtime_dir=tmp_path)
    assert done.returncode == 1
    assert "live credentials" in done.stderr


def test_version_and_usage_errors() -> None:
    """`version --json` parses; a wrong option is exit code 2."""
    assert "wire" in json.loads(cli("version", "--json").stdout)
    assert cli("status", "--no-such-option").returncode == 2
    assert cli("no-such-command").returncode == 2


@pytest.mark.parametrize("code", [0, 7])
def test_exec_passes_the_bots_exit_code_on(tmp_path: Path, code: int) -> None:
    """The bot finds its agent by environment; its exit code is the command's; the agent is stopped after it."""
    script = (
        "import os, sys, pathlib\n"
        "folder = pathlib.Path(os.environ['JACKSTAY_RUNTIME_DIR']) / os.environ['JACKSTAY_AGENT']\n"
        "assert (folder / 'bot.sock').exists()\n"
        f"sys.exit({code})"
    )
    done = cli("exec", "--name", "pair", "--", sys.executable, "-c", script, runtime_dir=tmp_path)
    assert done.returncode == code, done.stderr
    assert not (tmp_path / "pair" / "bot.sock").exists()


def test_exec_forwards_signals_and_reports_them(tmp_path: Path) -> None:
    """SIGTERM reaches the bot; a bot ended by a signal gives 128 + its number, as in a shell."""
    pair = subprocess.Popen(
        [sys.executable, "-m", "jackstay_agent.cli", "exec", "--runtime-dir", str(tmp_path), "--"]
        + [sys.executable, "-c", "print('up', flush=True); import time; time.sleep(60)"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=child_env(),
    )
    assert pair.stdout is not None
    assert pair.stdout.readline() == b"up\n"
    pair.terminate()
    assert pair.wait(20) == 128 + signal.SIGTERM
    pair.stdout.close()


def test_exec_starts_a_dead_agent_again(tmp_path: Path) -> None:
    """kill -9 of the agent: the bot lives on and a new agent takes the name."""
    pair = subprocess.Popen(
        [sys.executable, "-m", "jackstay_agent.cli", "exec", "--name", "p", "--runtime-dir", str(tmp_path), "--"]
        + [sys.executable, "-c", "print('up', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=child_env(),
    )
    assert pair.stdout is not None
    assert pair.stdin is not None
    assert pair.stdout.readline() == b"up\n"
    first = json.loads(cli("status", "p", "--json", runtime_dir=tmp_path).stdout)["pid"]
    os.kill(first, signal.SIGKILL)
    second = first
    limit_at = time.monotonic() + 20
    while second == first:
        assert time.monotonic() < limit_at
        done = cli("status", "p", "--json", "--timeout", "1", runtime_dir=tmp_path)
        second = json.loads(done.stdout)["pid"] if done.returncode == 0 else first
    assert psutil.pid_exists(pair.pid)
    pair.stdin.write(b"\n")
    pair.stdin.close()
    assert pair.wait(20) == 0
    pair.stdout.close()


def test_exec_goes_on_trying_to_start_an_agent(tmp_path: Path) -> None:
    """Killed while its configuration is broken: tried again and again, and up once the file is mended."""
    config = tmp_path / "p.toml"
    config.write_text("")
    words = ["exec", "--name", "p", "-c", str(config), "--runtime-dir", str(tmp_path), "--"]
    with (tmp_path / "stderr").open("wb") as told:
        pair = subprocess.Popen(
            [sys.executable, "-m", "jackstay_agent.cli", *words]
            + [sys.executable, "-c", "print('up', flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=told,
            env=child_env(),
        )
    assert pair.stdout is not None
    assert pair.stdin is not None
    assert pair.stdout.readline() == b"up\n"
    config.write_text("[agnet]\n")
    os.kill(json.loads(cli("status", "p", "--json", runtime_dir=tmp_path).stdout)["pid"], signal.SIGKILL)
    limit_at = time.monotonic() + 60
    while (tmp_path / "stderr").read_text().count("the agent did not start") < 2:
        assert time.monotonic() < limit_at, (tmp_path / "stderr").read_text()
        time.sleep(0.05)
    config.write_text("")
    while cli("status", "p", "--timeout", "1", runtime_dir=tmp_path).returncode not in (0, 1):
        assert time.monotonic() < limit_at, (tmp_path / "stderr").read_text()
    pair.stdin.write(b"\n")
    pair.stdin.close()
    assert pair.wait(30) == 0
    pair.stdout.close()


def test_exec_of_a_missing_program(tmp_path: Path) -> None:
    """127, a message, and no agent left behind."""
    done = cli("exec", "--name", "m", "--", "/no/such/program", runtime_dir=tmp_path)
    assert done.returncode == 127
    assert "cannot start" in done.stderr
    assert not (tmp_path / "m" / "bot.sock").exists()


def test_ready_is_told_to_a_service_manager(tmp_path: Path) -> None:
    """Type=notify: READY=1 arrives once the sockets are bound."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(20)
        agent = subprocess.Popen(
            [sys.executable, "-m", "jackstay_agent.cli", "run", "n", "--runtime-dir", str(tmp_path)],
            env=child_env() | {"NOTIFY_SOCKET": str(address)},
            stderr=subprocess.DEVNULL,
        )
        try:
            first = manager.recv(4096)
            assert first.startswith(b"EXTEND_TIMEOUT_USEC="), "a long recovery is no reason to be killed"
            assert b"READY=1" in manager.recv(4096)
            assert (tmp_path / "n" / "bot.sock").exists()
        finally:
            agent.terminate()
            assert agent.wait(20) == 0
