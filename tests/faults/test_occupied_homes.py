"""Whoever replaces a home's database, or destroys its keys, has the home alone."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from broker.operator.office import stopped
from broker.settings import load
from tests.faults.test_erasure import House
from tests.integration.test_server_operator import run
from tests.support.broker import BrokerProcess, free_port


def test_a_broker_that_listens_elsewhere_than_the_settings_say_is_seen(tmp_path):
    """Its database would be moved away under it, with every opt-out that it answers from then on."""
    with BrokerProcess(tmp_path / "home") as broker:
        run("backup", tmp_path / "before", "--home", broker.home)
        broker.stop()
        elsewhere = f"127.0.0.2:{free_port()}"
        serving = subprocess.Popen(
            [sys.executable, "-m", "sluss_cli", "serve", "--listen", elsewhere, "--home", broker.home],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        with serving:
            try:
                assert serving.stdout.readline() == f"listening on {elsewhere}\n"
                ended = run("restore", tmp_path / "before", "--replace", "--home", broker.home, exits=2)
            finally:
                serving.terminate()
        assert "the broker is running" in ended.err


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_broker_starts_while_a_restore_is_under_way(tmp_path, workers):
    with BrokerProcess(tmp_path / "home", environment={"SLUSS_WORKERS": workers}) as broker:
        broker.stop()
        with stopped(load(broker.home)), pytest.raises(AssertionError, match="a restore, or a destruction of keys"):
            broker.start()
        broker.start()


def test_what_a_killed_restore_was_working_on_is_in_the_home_and_goes_with_the_next(tmp_path):
    """Rows of a backup, and so of persons who are erased since: nobody would look for them elsewhere."""
    house = House(tmp_path / "home")
    before = house.backup("before")
    code = f"""
import os, signal
from pathlib import Path
from broker.operator import restoring
from broker.settings import load
restoring.require_openable = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
restoring.put_back(load(Path({str(house.home)!r})), Path({str(before)!r}), replace=True)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert len(list((house.home / ".restoring").rglob("sluss.db"))) == 1
    house.restore(before)
    assert not (house.home / ".restoring").exists()
