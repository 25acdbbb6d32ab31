"""The baseline of the bulk benchmark: the database does it all, in one statement, with pgcrypto.

Fields lie encrypted under a key per person; the statement decrypts each, encrypts it to the recipient's key and
writes an audit row per person that holds the result. pgcrypto's `encrypt` is AES-256-CBC: nothing is authenticated.
The wheel that the tests take PostgreSQL from lacks pgcrypto, so a server installed on the machine is used.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.benchmarks.measure import cpu_seconds
from tests.support import postgres

SCHEMA = """
CREATE EXTENSION pgcrypto;
CREATE TABLE person (id bigint PRIMARY KEY, key bytea NOT NULL,
    f1 bytea NOT NULL, f2 bytea NOT NULL, f3 bytea NOT NULL, f4 bytea NOT NULL, f5 bytea NOT NULL);
CREATE TABLE audit (id bigint PRIMARY KEY, person bigint NOT NULL, contract text NOT NULL, purpose text NOT NULL,
    recipient text NOT NULL, at timestamptz NOT NULL,
    f1 bytea NOT NULL, f2 bytea NOT NULL, f3 bytea NOT NULL, f4 bytea NOT NULL, f5 bytea NOT NULL);
CREATE TEMPORARY TABLE plain (id bigint, key bytea, f1 text, f2 text, f3 text, f4 text, f5 text);
"""
SEAL = "INSERT INTO person SELECT id, key, {} FROM plain".format(
    ", ".join(f"encrypt(convert_to(f{n}, 'UTF8'), key, 'aes')" for n in range(1, 6))
)
DISCLOSE = """
INSERT INTO audit SELECT id, id, 'C-2026-0001', 'billing', 'subcontractor/acme', now(), {} FROM person
""".format(", ".join(f"encrypt(decrypt(f{n}, key, 'aes'), %(to)s, 'aes')" for n in range(1, 6)))


class Alone:
    """A database with the persons in it."""

    def __init__(self, connection, values):
        self._connection = connection
        self._backend = connection.info.backend_pid
        self.version = f"PostgreSQL {connection.info.server_version // 10000}"
        self._count = len(values)
        connection.execute(SCHEMA)
        with connection.cursor() as cursor, cursor.copy("COPY plain FROM STDIN") as copy:
            for number, row in enumerate(values, 1):
                copy.write_row((number, os.urandom(32), *row))
        connection.execute(SEAL)
        connection.execute("VACUUM ANALYZE")
        self.disclose()

    def disclose(self):
        """CPU seconds of the backend, durable commit included, for everybody."""
        self._connection.execute("TRUNCATE audit")
        before = cpu_seconds(self._backend)
        done = self._connection.execute(DISCLOSE, {"to": os.urandom(32)})
        if done.rowcount != self._count:
            raise AssertionError(done.rowcount)
        return cpu_seconds(self._backend) - before


def start(stack, values):
    """A server with the persons, for as long as the stack lives; None if no PostgreSQL here has pgcrypto."""
    binaries = _binaries()
    if binaries is None:
        return None
    url = stack.enter_context(_server(binaries))
    return Alone(stack.enter_context(psycopg.connect(url, autocommit=True)), values)


def _binaries():
    """The newest installed server that has pgcrypto."""
    found = [Path("/usr/local/pgsql/bin"), *Path("/usr/lib/postgresql").glob("*/bin")]
    for folder in sorted(found, key=lambda path: path.parent.name, reverse=True):
        if (folder / "postgres").exists() and (folder.parent / "lib" / "pgcrypto.so").exists():
            return folder
    return None


@contextmanager
def _server(binaries):
    """A server as its makers set it up, fsync and all; not on the network."""
    folder = Path(tempfile.mkdtemp(prefix="sluss-bench-postgres-"))
    folder.chmod(0o711)
    user = postgres._owner()
    as_user = {"user": user, "group": postgres._group(user), "extra_groups": []} if user else {}
    if user:
        shutil.chown(folder, user)
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    common = {"cwd": folder, "env": environment, **as_user}
    init = [binaries / "initdb", "-D", folder / "d", "--auth=trust", "--no-sync", "-U", "postgres", "-E", "UTF8"]
    server = None
    try:
        subprocess.run(init, check=True, capture_output=True, **common)
        with (folder / "log").open("w") as log:
            start = [binaries / "postgres", "-D", folder / "d", "-k", folder, "-clisten_addresses="]
            server = subprocess.Popen(start, stdout=log, stderr=log, **common)
        postgres._await(f"postgresql://postgres@/postgres?host={folder}", server)
        yield f"postgresql://postgres@/postgres?host={folder}"
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)
            server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)
