"""Ways to take the store from a running broker, each a context manager; at its end the store is back."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

from tests.support import postgres


@contextmanager
def full_disk(broker):
    """No file of the broker's process can grow: each write fails with EFBIG (Python ignores SIGXFSZ)."""
    pid = broker.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def removed_file(broker):
    """The database file is gone; later the very same file comes back."""
    path, away = broker.home / "sluss.db", broker.home / "sluss.db.away"
    path.rename(away)
    try:
        yield
    finally:
        away.rename(path)


@contextmanager
def replaced_file(broker):
    """Another, empty file stands where the database was."""
    path, away = broker.home / "sluss.db", broker.home / "sluss.db.away"
    path.rename(away)
    path.touch(0o600)
    try:
        yield
    finally:
        away.replace(path)


@contextmanager
def locked_file(broker):
    """Another process holds the write lock."""
    holder = sqlite3.connect(broker.home / "sluss.db", isolation_level=None, timeout=20)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        holder.execute("ROLLBACK")
        holder.close()


class OwnPostgres:
    """A PostgreSQL server that nobody else uses, so that it may be stopped. A context manager."""

    def __enter__(self):
        self._folder = Path(tempfile.mkdtemp(prefix="sluss-pg-"))
        self._folder.chmod(0o711)
        user, binaries = postgres._owner(), postgres._binaries(self._folder)
        data = self._folder / "d"
        data.mkdir(mode=0o700)
        if user:
            shutil.chown(data, user)
            shutil.chown(self._folder, user)
        as_user = {"user": user, "group": postgres._group(user), "extra_groups": []} if user else {}
        init = [binaries / "initdb", "-D", data, "--auth=trust", "--no-sync", "-U", "postgres", "-E", "UTF8"]
        plain = {"cwd": self._folder, "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}}
        subprocess.run(init, check=True, capture_output=True, **plain, **as_user)
        options = [f"-c{name}={value}" for name, value in postgres.SETTINGS.items()]
        self._log = (self._folder / "log").open("wb")
        self._server = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-k", self._folder, *options],
            stdout=self._log,
            stderr=self._log,
            **plain,
            **as_user,
        )
        self.url = f"postgresql+psycopg://postgres@/postgres?host={self._folder}"
        postgres._await(self.url, self._server)
        return self

    def __exit__(self, *_):
        self._server.send_signal(signal.SIGINT)
        self._server.wait(postgres.PATIENCE_S)
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def hung(self, _broker):
        """The server and all its children are stopped in their tracks (SIGSTOP)."""
        pids = [self._server.pid, *self._children()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in reversed(pids):
                os.kill(pid, signal.SIGCONT)

    def _children(self):
        listed = Path(f"/proc/{self._server.pid}/task/{self._server.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]
