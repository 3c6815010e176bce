"""kill -9 may come at any moment and takes nothing that was answered."""

from __future__ import annotations

import collections
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

from conftest import Install
from latchkey import Person, Server, refresh, wait_until
from letters import letters_in, token_in
from wire import CONFIRM


class Load:
    """Threads that register and rotate, and remember what they were answered."""

    def __init__(self, server: Server, rotating: list[Person]) -> None:
        self.server = server
        self.rotating = rotating
        self.registered: list[Person] = []
        self.rotations = 0
        self._is_over = threading.Event()
        jobs: list[Callable[[httpx.Client], None]] = [self._register] * 3
        jobs += [lambda client, person=person: self._rotate(client, person) for person in rotating]
        self._threads = [threading.Thread(target=self._repeat, args=(job,)) for job in jobs]
        for thread in self._threads:
            thread.start()

    def _repeat(self, job: Callable[[httpx.Client], None]) -> None:
        with self.server.client(timeout=10) as client:
            # Bounded, should nobody ever end it.
            for _ in range(2000):
                try:
                    job(client)
                except httpx.TransportError:
                    return
                if self._is_over.is_set():
                    return

    def _register(self, client: httpx.Client) -> None:
        person = Person()
        answer = client.post("/api/register/", json=person.registration)
        assert answer.status_code in (201, 503), answer.text
        if answer.status_code == 201:
            self.registered.append(person)

    def _rotate(self, client: httpx.Client, person: Person) -> None:
        answer = refresh(client, person.refresh)
        assert answer.status_code in (200, 503), answer.text
        if answer.status_code == 200:
            person.refresh = answer.json()["refresh"]
            self.rotations += 1

    def wait(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()


def test_kill_9_under_load_takes_nothing_that_was_answered(
    install: Install, tell: Callable[[str], None]
) -> None:
    installation = install()
    luck = random.Random(7)
    everybody: list[Person] = []
    rotations = 0
    rounds = 8
    with installation.start().client() as client:
        rotating = [Person().register(client).log_in(client) for _ in range(3)]
    for _ in range(rounds):
        load = Load(installation.servers[-1], rotating)
        time.sleep(luck.uniform(0.1, 0.6))
        installation.servers[-1].kill()
        load.wait()
        rotations += load.rotations
        everybody += load.registered
        with installation.start().client() as client:
            for person in load.registered:
                person.log_in(client)
            for person in rotating:
                person.rotate(client)
                assert person.profile(client).status_code == 200
    assert everybody and rotations

    with installation.servers[-1].client() as client:
        ids = [person.log_in(client).user["id"] for person in everybody]
        assert len(set(ids)) == len(ids), "no id is used twice"
        addresses = {person.email for person in everybody}

        def letters_of_all() -> list[Any]:
            letters = letters_in(installation.mail)
            return letters if addresses <= {letter["To"] for letter in letters} else []

        letters = wait_until(letters_of_all, 60, "the letters of all who were answered")
        # Also whoever was killed while writing left no half a letter, and none that misleads.
        tokens = {letter["To"]: token_in(letter) for letter in letters}
        for person in everybody:
            sent = {"token": tokens[person.email]}
            assert client.post(CONFIRM, json=sent).status_code == 200
    counts = collections.Counter(letter["To"] for letter in letters)
    twice = sum(count > 1 for count in counts.values())
    by_id = {(letter["To"], letter["Message-ID"]) for letter in letters}
    tell(
        f"{rounds} kills, {len(everybody)} registrations and {rotations} rotations answered, {twice} letters twice"
    )
    assert len(by_id) == len(counts), "a letter that comes twice comes under one Message-ID"
    assert twice <= max(rounds, len(counts) // 20)


def test_a_stolen_session_is_dead_also_after_kill_9(install: Install) -> None:
    installation = install()
    server = installation.start()
    with server.client() as client:
        person = Person().register(client).log_in(client)
        elsewhere = person.in_another_session().log_in(client)
        stolen = person.refresh
        person.rotate(client).rotate(client)
        answer = refresh(client, stolen)
        server.kill()
        assert answer.status_code == 401
    with installation.start().client() as client:
        assert refresh(client, person.refresh).status_code == 401
        assert person.profile(client).status_code == 401
        assert elsewhere.rotate(client).profile(client).status_code == 200


def test_a_rotation_whose_answer_was_lost_is_made_again_after_kill_9(install: Install) -> None:
    installation = install()
    server = installation.start()
    with server.client() as client:
        person = Person().register(client).log_in(client)
        answer = refresh(client, person.refresh)
        server.kill()
        assert answer.status_code == 200
    with installation.start().client() as client:
        again = refresh(client, person.refresh)
        assert again.status_code == 200
        assert again.json()["refresh"] == answer.json()["refresh"]
