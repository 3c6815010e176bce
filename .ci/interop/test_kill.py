"""kill -9 may come at any moment and takes nothing that was answered."""

from __future__ import annotations

import collections
import os
import random
import secrets
import statistics
import time
from collections.abc import Callable

import pytest

from conftest import Install
from life import Audit, Post, Somebody, Worker

WORKERS = 4
OPERATIONS = {"register", "confirm", "log in", "rotate", "log out", "steal"} | {
    "ask for a reset",
    "reset",
    "change",
    "delete",
}


@pytest.mark.timeout(0)
def test_kill_9_under_load_takes_nothing_that_was_answered(
    install: Install, tell: Callable[[str], None]
) -> None:
    """Ten times, or LATCHKEY_KILLS. LATCHKEY_SEED decides what is asked and for how long."""
    rounds = int(os.environ.get("LATCHKEY_KILLS", "10"))
    seed = os.environ.get("LATCHKEY_SEED") or secrets.token_hex(4)
    tell(f"kill -9: {rounds} rounds, LATCHKEY_SEED={seed}")
    luck = random.Random(seed)
    # The notices of a reset must not be held back by what one address may be sent.
    installation = install({"login": {"max_failures": 1000}, "tokens": {"sessions_per_user": 1000}})
    post = Post(installation.mail)
    everybody: list[Somebody] = []
    done: collections.Counter[str] = collections.Counter()
    settled: collections.Counter[str] = collections.Counter()
    downtimes: list[float] = []
    server = installation.start()
    for number in range(rounds):
        workers = [
            Worker(server, post, f"w{number}-{worker}", f"{seed}/{number}/{worker}")
            for worker in range(WORKERS)
        ]
        time.sleep(luck.uniform(0.1, 0.8))
        server.kill()
        for worker in workers:
            worker.wait()
            done += worker.done
        started = time.monotonic()
        server = installation.start()
        with server.client() as client:
            assert client.get("/readyz").status_code == 200
            downtimes.append(time.monotonic() - started)
            audit = Audit(client, post)
            newest = [somebody for worker in workers for somebody in worker.everybody]
            earlier = luck.sample(everybody, min(len(everybody), 10))
            for somebody in newest + earlier:
                audit.check(somebody)
            settled += audit.settled
        everybody += newest

    with server.client() as client:
        audit = Audit(client, post)
        for somebody in everybody:
            audit.check(somebody)
            audit.check_letters(somebody)
        ids = [
            client.post("/api/login/", json={"email": one.email, "password": one.password}).json()["user"]["id"]
            for one in everybody
            if one.exists
        ]
    assert len(set(ids)) == len(ids), "no id is used twice"
    letters = [letter for letters in post.to.values() for letter in letters]
    names = collections.Counter(letter["Message-ID"] for letter in letters)
    one_of_each = {(letter["To"], letter["Subject"], letter["Message-ID"]) for letter in letters}
    assert len(one_of_each) == len(names), "a letter that comes twice comes under one Message-ID"
    tell(f"answered: {dict(sorted(done.items()))}")
    tell(f"in doubt, and found whole or not at all: {dict(sorted(settled.items()))}")
    tell(
        f"{len(everybody)} accounts and {len(letters)} letters ({len(letters) - len(names)} of them twice) are as "
        f"answered; restart to first answer: median {statistics.median(downtimes) * 1000:.0f} ms, "
        f"longest {max(downtimes) * 1000:.0f} ms (aim: 100 ms)"
    )
    assert set(done) >= OPERATIONS, f"never answered: {OPERATIONS - set(done)}"
