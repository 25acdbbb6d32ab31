"""`sluss outbox watch` and `sluss obligation watch` over a broker that stops, dies and comes back."""

from __future__ import annotations

import json
import time

import pytest
from sluss_cli.main import build
from typer.testing import CliRunner

from tests.integration.test_obligations_broker import received, rectify
from tests.support.nursery import start

WAIT_S = 60
INTERNAL, ACME = "internal/import", "subcontractor/acme"
ALL = "That is all so far"


class Watching:
    """A watch as a process of its own."""

    def __init__(self, broker, name, *words):
        self._out = broker.home / f"{words[0]}.out"
        with self._out.open("wb") as out:
            self._process = start([*words, "--profile", broker.profile(name), "--json"], out, {})

    def text(self):
        return self._out.read_text()

    def documents(self):
        """The documents so far; a last one may still be on its way, and there are notes between them."""
        text, found = self.text(), []
        while (begin := text.find("{")) >= 0:
            try:
                said, end = json.JSONDecoder().raw_decode(text[begin:])
            except json.JSONDecodeError:
                break
            found.append(said)
            text = text[begin + end :]
        return found

    def until(self, holds):
        end = time.monotonic() + WAIT_S
        while not holds():
            assert self._process.poll() is None, self.text()
            assert time.monotonic() < end
            time.sleep(0.05)

    def ended(self):
        return self._process.wait(WAIT_S)


@pytest.mark.parametrize("ends", ["stop", "kill"])
def test_a_watch_goes_on_when_the_broker_is_back(broker, ends):
    contract, client = broker.live_contract()
    person, _ = received(broker, client, contract)
    watches = [
        Watching(broker, INTERNAL, "outbox", "watch", "archive", "--acknowledge", "--count", "2"),
        Watching(broker, ACME, "obligation", "watch", "--count", "2"),
    ]
    for each in watches:
        each.until(each.documents)
    watches[1].until(lambda: ALL in watches[1].text())
    getattr(broker, ends)()
    broker.start()
    broker.register(email="last@example.com")
    rectify(broker, person, email="right@example.com")
    assert [each.ended() for each in watches] == [0, 0]
    messages, obligations = (each.documents() for each in watches)
    assert len({each["id"] for each in messages}) == 2
    assert [each["kind"] for each in obligations] == ["delete_by", "correct"]
    assert watches[1].text().count(ALL) == 1


def test_a_watch_of_a_broker_that_is_not_there_says_so(broker):
    profile = broker.profile(INTERNAL)
    broker.stop()
    told = CliRunner().invoke(build(), ["outbox", "watch", "archive", "--profile", str(profile)])
    assert told.exit_code == 4
    assert "NO_ANSWER" in told.stderr
