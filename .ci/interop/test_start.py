"""How soon it answers. Measured and told; a test fails only where something is badly wrong."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from conftest import Install
from latchkey import Installation, Person

# How many users the second start finds; 100000 takes some minutes to make.
USERS = int(os.environ.get("LATCHKEY_TEST_USERS", "2000"))
WRITERS = 8


def started(installation: Installation) -> tuple[float, int]:
    """Starts the server; milliseconds to the first answer, and then its memory in KiB."""
    began = time.monotonic()
    server = installation.start()
    with httpx.Client(trust_env=False) as client:
        assert client.get(server.url + "/readyz").status_code == 200
    took = (time.monotonic() - began) * 1000
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return took, int(status.split("VmRSS:")[1].split()[0])


def test_a_fresh_start(install: Install, tell: Callable[[str], None]) -> None:
    """With the configuration as it is shipped: keys and database are made."""
    times = []
    for number in range(5):
        installation = install({"passwords": {"memory": "19MiB", "iterations": 2}}, name=f"fresh-{number}")
        times.append(started(installation))
        installation.close()
    fastest, slowest = min(times)[0], max(times)[0]
    tell(f"a fresh start answers after {fastest:.0f} to {slowest:.0f} ms, with {times[0][1] >> 10} MiB")
    assert fastest < 5000


def test_a_start_after_kill_9(install: Install, tell: Callable[[str], None]) -> None:
    installation = install()
    server = installation.start()

    def fill() -> None:
        with server.client() as client:
            for _ in range(USERS // WRITERS):
                Person(password="the same for all").register(client)

    writers = [threading.Thread(target=fill) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    server.kill()
    size = installation.database.stat().st_size
    times = []
    for _ in range(5):
        times.append(started(installation))
        installation.servers[-1].kill()
    fastest, slowest = min(times)[0], max(times)[0]
    tell(
        f"a start with {USERS} users ({size >> 20} MiB) after kill -9 answers after "
        f"{fastest:.0f} to {slowest:.0f} ms, with {times[0][1] >> 10} MiB"
    )
    assert fastest < 5000
