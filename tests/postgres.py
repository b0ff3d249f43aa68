"""A real PostgreSQL server of a test's own: made, started, stopped, restarted and removed, beside any other.

It listens on a unix socket in its own folder only, so no port can clash. The folder is not pytest's ``tmp_path``:
PostgreSQL refuses to run as root, so root's tests run it as the package's own user, who cannot enter root's folders.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

USER = "bot"


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl: Debian keeps them off the path, under their version; newest first."""
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    if versions:
        return max(versions, key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0)
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def why_not() -> str:
    """Why there can be no server here, or an empty word."""
    if binaries() is None:
        return "no PostgreSQL server here; `apt-get install postgresql` brings one"
    if os.geteuid() == 0 and _package_user() is None:
        return "PostgreSQL does not run as root, and there is no user postgres to run it as"
    return ""


def _package_user() -> str | None:
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return None


class PostgresServer:
    """``with PostgresServer() as server``: up, with one user and a password nobody else has."""

    def __init__(self) -> None:
        folder = binaries()
        assert folder is not None, why_not()
        self._binaries = folder
        self._run_as = _package_user() if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="js-pg-"))
        self._data = self.folder / "data"
        self.password = secrets.token_hex(16)

    @property
    def url(self) -> str:
        return self.url_with(self.password)

    def url_with(self, password: str) -> str:
        return f"postgresql://{USER}:{password}@/postgres?host={self.folder}"

    def __enter__(self) -> PostgresServer:
        secret = self.folder / "password"
        secret.write_text(self.password, encoding="utf-8")
        if self._run_as is not None:
            for path in (self.folder, secret):
                shutil.chown(path, self._run_as)
        self._run(
            "initdb",
            "-D",
            self._data,
            "-U",
            USER,
            "--auth=scram-sha-256",
            f"--pwfile={secret}",
            "--no-sync",
            "-E",
            "UTF8",
        )
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as config:
            # Without fsync a crash of the server loses nothing, only one of the machine would.
            config.write(
                f"\nlisten_addresses = ''\nunix_socket_directories = '{self.folder}'\nfsync = off\n"
                "shared_buffers = 16MB\nmax_connections = 30\nautovacuum = off\n"
            )
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (self._data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Returns when it takes connections."""
        self._control("start", "-l", str(self.folder / "log"))

    def stop(self, mode: str = "fast") -> None:
        """``fast``: connections are cut, then an orderly end; ``immediate``: as in a crash, recovered at the start."""
        self._control("stop", "-m", mode)

    def _control(self, verb: str, *more: str) -> None:
        self._run("pg_ctl", verb, "-D", self._data, "--wait", "--timeout=60", "--silent", *more)

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [self._binaries / program, *arguments],
            user=self._run_as,
            group=self._run_as,
            extra_groups=None if self._run_as is None else [],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            # A pipe would stay open in the server that pg_ctl leaves behind.
            stdout=(self.folder / "output").open("ab"),
            stderr=subprocess.STDOUT,
            timeout=90,
            check=False,
        )
        if done.returncode != 0:
            said = (self.folder / "output").read_text(errors="replace")
            log = self.folder / "log"
            raise RuntimeError(f"{program} failed: {said}{log.read_text(errors='replace') if log.exists() else ''}")
