"""100,000 persons in bounded memory: a large file takes no more than a small one, of command and broker."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from pathlib import Path

import orjson

from tests.support.broker import BrokerProcess

SMALL, SHORT, LARGE = 2_000, 12_000, 100_000
RATIO = 1.3
SLACK_KIB = 8 * 1024
"""For pages of the allocator and of SQLite's cache (2 MiB a connection), which fill up whatever the file holds."""
LIMIT_S = 300
MAPPING = """\
format = 1
input = "csv"
source = "import:crm"
key = "customer_number"

[columns]
customer_number = "customer_number"
"name.given" = "name.given"
email = "email"
"payment.iban" = "payment.iban"
"""


def write(path, start, count):
    """A file of so many persons, numbered from `start`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["customer_number", "name.given", "email", "payment.iban"])
        writer.writerows(
            (f"K-{number:07d}", "Åsa", f"a{number}@example.com", "SE4550000000058398257466")
            for number in range(start, start + count)
        )
    return path


def peak_kib(process):
    """The most memory that a process has ever had resident (proc(5), VmHWM); 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text("ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def load(broker, file, mapping):
    """Import a file with the command: what it said, its peak and the broker's, in KiB."""
    words = [sys.executable, "-m", "sluss_cli", "import", file, "--mapping", mapping, "--json"]
    words += ["--profile", broker.profile("internal/import")]
    deadline, peak = time.monotonic() + LIMIT_S, 0
    with subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE) as command:
        while command.poll() is None:
            peak = max(peak, peak_kib(command))
            if time.monotonic() > deadline:
                command.kill()
            time.sleep(0.01)
        said = orjson.loads(command.stdout.read())
    assert command.returncode == 0, said
    return said, peak, peak_kib(broker.process)


def test_a_large_file_is_imported_in_the_memory_of_a_small_one(tmp_path, campaign):
    count, mapping = LARGE if campaign else SHORT, tmp_path / "mapping.toml"
    mapping.write_text(MAPPING, encoding="utf-8")
    with BrokerProcess(tmp_path / "home") as broker:
        small, command_kib, broker_kib = load(broker, write(tmp_path / "small.csv", 0, SMALL), mapping)
        large, command_large_kib, broker_large_kib = load(broker, write(tmp_path / "large.csv", SMALL, count), mapping)
    assert (small["created"], large["created"]) == (SMALL, count)
    assert min(command_kib, broker_kib) > 10_000
    assert command_large_kib <= RATIO * command_kib + SLACK_KIB
    assert broker_large_kib <= RATIO * broker_kib + SLACK_KIB
