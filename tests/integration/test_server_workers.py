"""workers.py: real processes, one or several on a port, and how they end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest

from tests.integration.server_world import ACME, Ping, World, unary

ROOT = Path(__file__).resolve().parents[2]
FEW_FILES = 200
"""What the processes may have open until they ask for more."""

MAIN = f"""
import resource
import sys

resource.setrlimit(resource.RLIMIT_NOFILE, ({FEW_FILES}, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

from broker.errors import SlussError
from broker.workers import serve
from broker.settings import Settings
from pathlib import Path
from tests.integration.server_world import build

if __name__ == "__main__":
    home, listen, workers = sys.argv[1:]
    settings = Settings(home=Path(home), trust_domain="example.com", origin="example.com/test", listen=listen,
                        workers=int(workers), drain_s=5.0)
    try:
        sys.exit(serve(settings, build))
    except SlussError as error:
        sys.exit(f"refused: {{error.reason}}: {{error.detail}}")
"""


class Broker:
    """`serve` in a process of its own."""

    def __init__(self, world, *, workers=1, listen="127.0.0.1:0"):
        self.world = world
        script = world.home.path / "main.py"
        script.write_text(MAIN)
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(world.home.path), listen, str(workers)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}"},
        )

    def port(self):
        line = self.process.stdout.readline()
        found = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", line)
        assert found, line + self.process.stderr.read()
        return int(found[1])

    def children(self):
        task = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        pids = [int(pid) for pid in Path(task).read_text().split()]
        return [pid for pid in pids if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err

    def wait(self):
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@pytest.fixture
def start(tmp_path):
    world = World(tmp_path)
    started = []

    def starter(**options):
        broker = Broker(world, **options)
        started.append(broker)
        return broker

    yield starter
    for broker in started:
        broker.end()


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(pids, seconds=10.0):
    end = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


async def call(world, who, port, text="hej", count=0):
    async with world.channel(port, who) as channel:
        return (await unary(channel, "SayBack")(Ping(text=text, count=count), timeout=20)).text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_single_process_says_where_it_listens_and_stops_when_told(start, number):
    broker = start()
    port = await asyncio.to_thread(broker.port)
    file = broker.world.home.port
    assert file.read_text() == f"{port}\n"
    who = broker.world.identity()
    assert await call(broker.world, who, port) == f"{ACME}: hej"
    slow = asyncio.create_task(call(broker.world, who, port, "slow", 1))
    await asyncio.sleep(0.5)
    broker.process.send_signal(number)
    assert (await slow).endswith("slow")
    code, out, err = await asyncio.to_thread(broker.wait)
    assert (code, out) == (0, ""), err
    assert not file.exists()


async def test_workers_share_one_port_and_stop_together(start):
    broker = start(workers=2)
    port = await asyncio.to_thread(broker.port)
    workers = broker.children()
    assert len(workers) == 2
    who = broker.world.identity()
    answers = await asyncio.gather(*(call(broker.world, who, port) for _ in range(12)))
    assert set(answers) == {f"{ACME}: hej"}
    slow = asyncio.create_task(call(broker.world, who, port, "slow", 1))
    await asyncio.sleep(0.5)
    broker.process.send_signal(signal.SIGTERM)
    assert (await slow).endswith("slow")
    code, _, err = await asyncio.to_thread(broker.wait)
    assert code == 0, err
    assert gone(workers)


async def test_when_one_worker_dies_all_stop_and_the_parent_says_so(start):
    broker = start(workers=2)
    await asyncio.to_thread(broker.port)
    workers = broker.children()
    os.kill(workers[0], signal.SIGKILL)
    code, _, _ = await asyncio.to_thread(broker.wait)
    assert code == 1
    assert gone(workers)


async def test_workers_do_not_outlive_a_parent_that_is_killed(start):
    broker = start(workers=2)
    port = await asyncio.to_thread(broker.port)
    workers = broker.children()
    broker.process.kill()
    assert await asyncio.to_thread(gone, workers)
    with pytest.raises(grpc.aio.AioRpcError):
        await call(broker.world, broker.world.identity(), port)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_broker_that_can_not_start_says_why_and_leaves_no_process(start, workers):
    broker = start(workers=workers)
    (broker.world.home.path / "unbuildable").touch()
    code, out, err = broker.wait()
    assert (code, out) == (1, "")
    assert "refused: KEYS_UNAVAILABLE: the key file is missing" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_on_which_others_listen_is_refused(start, workers):
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        code, _, err = start(workers=workers, listen=f"127.0.0.1:{port}").wait()
    assert code == 1
    assert f"refused: INVALID_REQUEST: can't listen on 127.0.0.1:{port}" in err


@pytest.mark.parametrize("workers", [1, 2])
async def test_no_process_can_leave_a_core_file(start, workers):
    broker = start(workers=workers)
    await asyncio.to_thread(broker.port)
    for pid in [broker.process.pid, *broker.children()]:
        assert not can_dump(pid)


def can_dump(pid):
    proc = Path("/proc") / str(pid)
    limited = re.search(r"Max core file size\s+0\s+0\s", (proc / "limits").read_text())
    # What can't be dumped belongs to root in /proc (prctl(2), PR_SET_DUMPABLE).
    owner = (proc / "mem").stat().st_uid
    if os.geteuid() == 0:
        return not limited
    return not limited or owner != 0


async def test_more_idle_connections_than_files_are_usual_leave_room_for_callers(start):
    broker = start(workers=1)
    world, port = broker.world, broker.port()
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2 * FEW_FILES)]
    async with world.channel(port, world.identity()) as channel:
        assert (await unary(channel, "SayBack")(Ping(text="hej"), timeout=2)).text == f"{ACME}: hej"
    for _, writer in idle:
        writer.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_process_may_have_as_many_files_open_as_the_system_lets_it(start, workers):
    broker = start(workers=workers)
    broker.port()
    for pid in [broker.process.pid, *broker.children()]:
        limits = Path(f"/proc/{pid}/limits").read_text()
        soft, hard = re.search(r"Max open files\s+(\S+)\s+(\S+)", limits).groups()
        assert soft == hard != str(FEW_FILES)
