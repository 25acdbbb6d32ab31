"""`sluss` commands as processes of their own that start at once: forked from a process that has imported the program.

Of the time that `sluss serve` takes to listen, nine tenths are imports, and the tests start brokers by the hundred. The
nursery is a process without threads that imports what brokers, consoles and commands need, and then only forks. What it
forks is a process like any other, that can be signalled, killed and limited; it runs the command's own entry point on
its own words, environment and files. How a person starts a broker, from nothing, is tested where it says `start_anew`,
by the walk, the demo and the tests of the operator's verbs.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

LONGEST = 1 << 20
CODE = struct.Struct("!i")
THREADS = Path("/proc/self/task")


class Forked:
    """A process from the nursery, as `subprocess.Popen` would show it.

    Attributes:
        pid: its number.
        returncode: its exit code; minus the signal that ended it; None while it runs.
    """

    def __init__(self, pid, status):
        self.pid, self.returncode = pid, None
        self._status = status
        self._guard = threading.Lock()

    def poll(self):
        return self._ended(0)

    def wait(self, timeout=None):
        if self._ended(timeout) is None:
            raise subprocess.TimeoutExpired(["sluss"], timeout)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout):
        with self._guard:
            if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
                told = os.read(self._status, CODE.size)
                os.close(self._status)
                if not told:
                    raise ChildProcessError("the nursery is gone")
                (self.returncode,) = CODE.unpack(told)
            return self.returncode


class Nursery:
    """The forking process as a test process sees it."""

    def __init__(self):
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._guard = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", "tests.support.nursery", str(theirs.fileno())], pass_fds=[theirs.fileno()]
        )
        theirs.close()
        atexit.register(self.close)

    def start(self, words, out, errors, environment):
        """Starts `sluss WORDS` with that environment; what it prints goes to files."""
        status, told = os.pipe()
        asked = json.dumps({"words": [*map(str, words)], "environment": environment, "folder": str(Path.cwd())})
        with self._guard:
            socket.send_fds(self._line, [asked.encode()], [out.fileno(), errors.fileno(), told])
            os.close(told)
            (pid,) = CODE.unpack(self._line.recv(CODE.size))
        return Forked(pid, status)

    def close(self):
        """Ends it; what it forked and still runs is killed."""
        self._line.close()
        self._process.wait()


@functools.cache
def nursery():
    """This test process's nursery."""
    return Nursery()


def start(words, log, environment=None):
    """Starts `sluss WORDS`, forked from the nursery; gives a `Forked`."""
    return nursery().start(words, log, log, {**os.environ, **(environment or {})})


def start_telling(words):
    """Starts `sluss WORDS`, forked from the nursery; gives a `Forked` and the stream of all that it prints."""
    told, telling = os.pipe()
    with os.fdopen(telling, "wb", buffering=0) as writing:
        process = nursery().start(words, writing, writing, dict(os.environ))
    return process, os.fdopen(told, encoding="utf-8")


def start_anew_telling(words):
    """The same with a new Python that imports what it needs, as a person starts it."""
    command = [sys.executable, "-u", "-m", "sluss_cli", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return process, process.stdout


def run(words, timeout=60):
    """Runs `sluss WORDS`, forked from the nursery, to its end, as `subprocess.run` would capture it."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = nursery().start(words, out, errors, dict(os.environ))
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        for file in (out, errors):
            file.seek(0)
        return subprocess.CompletedProcess(["sluss", *words], code, out.read(), errors.read())


def start_anew(words, log, environment=None):
    """Starts `sluss WORDS` as a person does: a new Python that imports what it needs; gives a `Popen`."""
    command = [sys.executable, "-m", "sluss_cli", *map(str, words)]
    return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **(environment or {})})


def _import_what_they_need():
    import sluss_cli.main  # noqa: F401, PLC0415 - loaded once, for all that is forked
    import sluss_legal.web.serve  # noqa: F401, PLC0415 - loaded once, for all that is forked
    import uvloop  # noqa: F401, PLC0415 - loaded once, for all that is forked

    import broker.app  # noqa: PLC0415 - loaded once, for all that is forked
    import broker.cli  # noqa: PLC0415 - loaded once, for all that is forked
    import broker.operator.office  # noqa: PLC0415 - loaded once, for all that is forked
    import broker.workers  # noqa: F401, PLC0415 - loaded once, for all that is forked


def fork_until_closed(line):
    """In the nursery: forks for each message, and tells how each ended. Returns, in the forked process, its words."""
    children = {}
    rouse, roused = os.pipe()
    os.set_blocking(roused, False)
    os.set_blocking(rouse, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(roused)
    while True:
        ready, _, _ = select.select([line, rouse], [], [])
        if rouse in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(rouse, LONGEST)
            _tell_of_the_ended(children)
        if line in ready:
            message, files, _, _ = socket.recv_fds(line, LONGEST, 3)
            if not message:
                break
            if THREADS.is_dir() and len([*THREADS.iterdir()]) > 1:
                raise RuntimeError("an import started a thread: what is forked now could hang")
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                out, errors, told = files
                for number in (line.detach(), rouse, roused, told, *children.values()):
                    os.close(number)
                return _become(json.loads(message), out, errors)
            *printed, children[pid] = files
            for number in printed:
                os.close(number)
            line.send(CODE.pack(pid))
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    raise SystemExit(0)


def _tell_of_the_ended(children):
    for pid in [*children]:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            told = children.pop(pid)
            with contextlib.suppress(BrokenPipeError):
                os.write(told, CODE.pack(os.waitstatus_to_exitcode(status)))
            os.close(told)


def _become(asked, out, errors):
    for number, file in ((1, out), (2, errors)):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    return asked["words"]


def main():
    line = socket.socket(fileno=int(sys.argv[1]))
    _import_what_they_need()
    gc.collect()
    gc.freeze()
    words = fork_until_closed(line)
    from sluss_cli.__main__ import main as run  # noqa: PLC0415 - loaded above

    sys.argv = ["sluss", *words]
    run()


if __name__ == "__main__":
    main()
