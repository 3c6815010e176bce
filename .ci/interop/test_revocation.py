"""Logging out, as services learn of it that never ask about a token."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import httpx
import jwt
import pytest

from conftest import Install
from latchkey import Person, from_base64url, refresh, wait_until
from offline import FEED, OfflineVerifier, Refused
from test_tokens import ISSUER, with_algorithm

CONFIG = with_algorithm("EdDSA")


def reuse_a_token(client: httpx.Client, person: Person) -> None:
    stolen = person.refresh
    person.rotate(client).rotate(client)
    assert refresh(client, stolen).status_code == 401


def log_out(client: httpx.Client, person: Person) -> None:
    assert client.post("/api/logout/", headers=person.bearer).status_code == 204


@pytest.mark.parametrize("end", [log_out, reuse_a_token])
def test_an_ended_session_is_refused_after_the_next_reading(
    end: Callable[[httpx.Client, Person], None], install: Install
) -> None:
    with install(CONFIG).start().client() as client:
        person, other = (Person().register(client).log_in(client) for _ in range(2))
        verifier = OfflineVerifier(client, ISSUER)
        with pytest.raises(Refused):
            verifier.check(person.access, time.time())
        assert verifier.read_feed() == 200
        for one in (person, other):
            assert verifier.check(one.access, time.time())["user_id"] == one.user["id"]
        assert verifier.read_feed() == 304, "nothing has ended"

        old = person.access
        end(client, person)
        assert verifier.check(old, time.time()), "it cannot know yet"
        assert verifier.read_feed() == 200
        with pytest.raises(Refused, match="ended"):
            verifier.check(old, time.time())
        assert verifier.check(other.access, time.time())
        assert verifier.feed["complete"] is True


def test_an_expired_feed_lets_nobody_in(install: Install) -> None:
    with install(CONFIG).start().client() as client:
        person = Person().register(client).log_in(client)
        verifier = OfflineVerifier(client, ISSUER)
        verifier.read_feed()
        lifetime = verifier.feed["exp"] - verifier.feed["iat"]
        assert 120 <= lifetime <= 600
        assert verifier.check(person.access, verifier.feed["exp"] - 1)
        with pytest.raises(Refused, match="expired"):
            verifier.check(person.access, verifier.feed["exp"])


def test_the_feed_and_what_passes_for_it(install: Install) -> None:
    with install(CONFIG).start().client() as client:
        person = Person().register(client).log_in(client)
        answer = client.get(FEED)
        assert answer.headers["content-type"] == "application/jwt"
        age = re.search(r"max-age=(\d+)", answer.headers["cache-control"])
        assert age and int(age[1]) <= 30
        header = jwt.get_unverified_header(answer.text)
        claims = jwt.decode(answer.text, options={"verify_signature": False})
        assert header == {"typ": "revoked-sessions+jwt", "alg": "EdDSA", "kid": header["kid"]}
        assert set(claims) == {"iss", "iat", "exp", "sessions", "complete"}, "and no sub"
        again = client.get(FEED, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == answer.headers["etag"]

        # Neither passes for the other.
        verifier = OfflineVerifier(client, ISSUER)
        with pytest.raises(Refused):
            verifier.take_feed(person.access)
        verifier.take_feed(answer.text)
        with pytest.raises(Refused):
            verifier.check(answer.text, time.time())
        got = client.get("/api/profile/", headers={"Authorization": f"Bearer {answer.text}"})
        assert got.status_code == 401
        forged = answer.text.rsplit(".", 1)[0] + "." + person.access.rsplit(".", 1)[1]
        with pytest.raises(Refused):
            verifier.take_feed(forged)
        with pytest.raises(Refused):
            OfflineVerifier(client, "https://elsewhere.example").take_feed(answer.text)


def test_an_older_feed_is_not_gone_back_to(install: Install) -> None:
    with install(CONFIG).start().client() as client:
        person = Person().register(client).log_in(client)
        old = client.get(FEED).text
        issued = jwt.decode(old, options={"verify_signature": False})["iat"]
        wait_until(lambda: time.time() > issued + 1, what="the next second")
        log_out(client, person)
        verifier = OfflineVerifier(client, ISSUER)
        verifier.read_feed()
        assert verifier.feed["iat"] > issued
        with pytest.raises(Refused, match="older"):
            verifier.take_feed(old)
        with pytest.raises(Refused, match="ended"):
            verifier.check(person.access, time.time())


def test_what_ended_is_listed_after_kill_9_until_its_tokens_are_dead(install: Install) -> None:
    installation = install(with_algorithm("EdDSA", access_lifetime="6s"))
    server = installation.start()
    with server.client() as client:
        person = Person().register(client).log_in(client)
        began = time.monotonic()
        answer = client.post("/api/logout/", headers=person.bearer)
        server.kill()
        assert answer.status_code == 204
    with installation.start().client() as client:
        verifier = OfflineVerifier(client, ISSUER)
        verifier.read_feed()
        if time.monotonic() - began < 4:
            assert len(verifier.feed["sessions"]) == 1
            assert len(from_base64url(verifier.feed["sessions"][0])) == 16
        with pytest.raises(Refused):
            verifier.check(person.access, time.time())
        listed = verifier.feed["sessions"]

        def is_dropped() -> bool:
            # Each logout makes a new list, from which the dead are gone.
            log_out(client, Person().register(client).log_in(client))
            verifier.read_feed()
            return not set(listed) & set(verifier.feed["sessions"])

        wait_until(is_dropped, 30, "the tombstone to go")
        assert time.monotonic() - began > 5
