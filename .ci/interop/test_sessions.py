"""Being one: login, refresh, profile."""

from __future__ import annotations

import asyncio
import re
import secrets
from typing import Any

import httpx
import pytest

from conftest import Install
from latchkey import Person, Server, refresh
from wire import (
    BAD_HEADER,
    BLANK,
    INVALID_TOKEN,
    NO_CREDENTIALS,
    NO_STRING,
    NUL,
    NULL,
    REQUIRED,
    WRONG_CREDENTIALS,
    body_of,
    not_valid,
)

# Login


LOGIN_CASES: list[tuple[str, dict[str, Any], int, dict[str, Any]]] = [
    ("nothing", {}, 400, {"email": REQUIRED, "password": REQUIRED}),
    ("null", {"email": None, "password": None}, 400, {"email": NULL, "password": NULL}),
    ("blank", {"email": "", "password": ""}, 400, {"email": BLANK, "password": BLANK}),
    ("mistyped", {"email": ["a"], "password": 1}, 400, {"email": NO_STRING, "password": NO_STRING}),
    ("NUL", {"email": "a\0@b.org", "password": "\0"}, 400, {"email": NUL, "password": NUL}),
    ("unknown", {"email": "unknown@example.org", "password": "whatever 7"}, 401, WRONG_CREDENTIALS),
]


@pytest.mark.parametrize(
    ("fields", "status", "body"), [case[1:] for case in LOGIN_CASES], ids=[case[0] for case in LOGIN_CASES]
)
def test_login_cases(fields: dict[str, Any], status: int, body: dict[str, Any], client: httpx.Client) -> None:
    answer = client.post("/api/login/", json=fields)
    assert body_of(answer) == (status, body)
    assert ("www-authenticate" in answer.headers) is False or status == 401


def test_login_finds_the_address_in_any_letter_case(client: httpx.Client) -> None:
    tag = secrets.token_hex(4)
    Person(f"Case.{tag}@Example.org", "a good password").register(client)
    person = Person(f"case.{tag}@EXAMPLE.org", "a good password").log_in(client)
    assert person.user["email"] == f"Case.{tag}@Example.org"


def test_five_failures_lock_out_also_the_right_password(install: Install) -> None:
    with install().start().client() as client:
        person, other = Person().register(client), Person().register(client)
        nobody = Person()
        for locked in (person, nobody):
            wrong = {"email": locked.email, "password": "wrong every time"}
            for _ in range(5):
                assert body_of(client.post("/api/login/", json=wrong)) == (401, WRONG_CREDENTIALS)
            for fields in (wrong, locked.credentials, locked.credentials | {"email": locked.email.upper()}):
                answer = client.post("/api/login/", json=fields)
                assert body_of(answer) == (
                    429,
                    {"detail": "Too many failed attempts. Please try again later."},
                )
                assert 0 < int(answer.headers["retry-after"]) <= 15 * 60
        other.log_in(client)


def test_guesses_at_the_same_time_do_not_slip_through(install: Install) -> None:
    server = install().start()
    with server.client() as client:
        person = Person().register(client)

    async def guess() -> list[httpx.Response]:
        async with server.async_client() as client:
            fields = [{"email": person.email, "password": f"guess number {n}"} for n in range(40)]
            return await asyncio.gather(*(client.post("/api/login/", json=field) for field in fields))

    statuses = [answer.status_code for answer in asyncio.run(guess())]
    assert statuses.count(401) <= 5 and set(statuses) <= {401, 429}, statuses


def test_a_success_clears_the_failures_before_it(install: Install) -> None:
    with install().start().client() as client:
        person = Person().register(client)
        for _ in range(3):
            for _ in range(4):
                wrong = person.credentials | {"password": "wrong every time"}
                assert client.post("/api/login/", json=wrong).status_code == 401
            person.log_in(client)


def test_attempts_a_minute_are_limited(install: Install) -> None:
    with install({"login": {"per_address_per_minute": 3}}).start().client() as client:
        person = Person().register(client)
        answers = [client.post("/api/login/", json=person.credentials) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        throttled = answers[-1]
        assert re.fullmatch(
            r"Request was throttled\. Expected available in \d+ seconds?\.", throttled.json()["detail"]
        )
        assert 0 < int(throttled.headers["retry-after"]) <= 120


def test_registrations_an_hour_are_limited(install: Install) -> None:
    with install({"registration": {"per_address_per_hour": 2}}).start().client() as client:
        statuses = [client.post("/api/register/", json=Person().registration).status_code for _ in range(4)]
        assert statuses == [201, 201, 429, 429]


def test_a_client_behind_a_proxy_is_counted_by_its_own_address(install: Install) -> None:
    with install({"login": {"per_address_per_minute": 1}}).start().client() as client:
        person = Person().register(client)

        def log_in_from(forwarded: str) -> int:
            headers = {"X-Forwarded-For": forwarded}
            return client.post("/api/login/", json=person.credentials, headers=headers).status_code

        assert log_in_from("192.0.2.1") == 200
        assert log_in_from("198.51.100.9, 192.0.2.1") == 429, "only the rightmost is the proxy's word"
        assert log_in_from("192.0.2.2") == 200
        assert log_in_from("192.0.2.3, 127.0.0.1") == 200, "trusted proxies are passed over"
        assert log_in_from("192.0.2.3") == 429
        assert log_in_from("2001:db8::1") == 200
        assert log_in_from("2001:db8::2") == 429, "an IPv6 network is one address"
        assert log_in_from("not an address") in (200, 429)


# Refresh


REFRESH_CASES: list[tuple[str, dict[str, Any], int, dict[str, Any]]] = [
    ("nothing", {}, 400, {"refresh": REQUIRED}),
    ("null", {"refresh": None}, 400, {"refresh": NULL}),
    ("blank", {"refresh": " "}, 400, {"refresh": BLANK}),
    ("mistyped", {"refresh": 7}, 400, {"refresh": NO_STRING}),
    ("garbage", {"refresh": "garbage"}, 401, INVALID_TOKEN),
    ("empty parts", {"refresh": ".."}, 401, INVALID_TOKEN),
]


@pytest.mark.parametrize(
    ("fields", "status", "body"),
    [case[1:] for case in REFRESH_CASES],
    ids=[case[0] for case in REFRESH_CASES],
)
def test_refresh_cases(
    fields: dict[str, Any], status: int, body: dict[str, Any], client: httpx.Client
) -> None:
    answer = client.post("/api/token/refresh/", json=fields)
    assert body_of(answer) == (status, body)
    assert answer.headers.get("www-authenticate") == ('Bearer realm="api"' if status == 401 else None)


def test_an_access_token_refreshes_nothing(client: httpx.Client) -> None:
    person = Person().register(client).log_in(client)
    assert body_of(refresh(client, person.access)) == (
        401,
        {"detail": "Token has wrong type", "code": "token_not_valid"},
    )


def test_a_refresh_token_is_trimmed(client: httpx.Client) -> None:
    person = Person().register(client).log_in(client)
    assert refresh(client, f" {person.refresh}\n").status_code == 200


def test_a_retry_gets_the_same_successor_and_theft_ends_the_session(client: httpx.Client) -> None:
    victim = Person().register(client).log_in(client)
    elsewhere = victim.in_another_session().log_in(client)
    first = victim.refresh
    answers = [refresh(client, first) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {200}
    (second,) = {answer.json()["refresh"] for answer in answers}

    victim.refresh = second
    victim.rotate(client)
    assert victim.profile(client).status_code == 200
    # The successor was used: whoever shows the first one now has stolen it, or was stolen from.
    answer = refresh(client, first)
    assert body_of(answer) == (401, INVALID_TOKEN)
    assert answer.headers["www-authenticate"] == 'Bearer realm="api"'
    for token in (victim.refresh, second, first):
        assert body_of(refresh(client, token)) == (401, INVALID_TOKEN)
    assert victim.profile(client).status_code == 401, "the access token ends with its session"
    assert elsewhere.rotate(client).profile(client).status_code == 200


def test_after_the_grace_a_superseded_token_is_theft(install: Install) -> None:
    with install({"tokens": {"reuse_grace": "0s"}}).start().client() as client:
        person = Person().register(client).log_in(client)
        old = person.refresh
        person.rotate(client)
        assert refresh(client, old).status_code == 401
        assert refresh(client, person.refresh).status_code == 401


def test_sixty_four_refreshes_at_once_have_one_successor(server: Server) -> None:
    with server.client() as client:
        person = Person().register(client).log_in(client)
        elsewhere = person.in_another_session().log_in(client)

    async def race() -> list[httpx.Response]:
        async with server.async_client(connections=64) as client:
            # All connections first, so that the requests themselves meet.
            await asyncio.gather(*(client.get("/healthz") for _ in range(64)))
            sent = {"refresh": person.refresh}
            return await asyncio.gather(*(client.post("/api/token/refresh/", json=sent) for _ in range(64)))

    answers = asyncio.run(race())
    assert [answer.status_code for answer in answers] == [200] * 64
    (successor,) = {answer.json()["refresh"] for answer in answers}
    with server.client() as client:
        for access in {answer.json()["access"] for answer in answers}:
            person.access = access
            assert person.profile(client).status_code == 200
        newest = refresh(client, successor).json()["refresh"]
        assert refresh(client, person.refresh).status_code == 401
        assert refresh(client, newest).status_code == 401
        assert elsewhere.rotate(client).profile(client).status_code == 200


def test_one_session_more_than_allowed_ends_the_oldest(install: Install) -> None:
    with install({"tokens": {"sessions_per_user": 2}}).start().client() as client:
        person = Person().register(client)
        devices = [person.in_another_session().log_in(client) for _ in range(3)]
        assert [device.profile(client).status_code for device in devices] == [401, 200, 200]
        assert [refresh(client, device.refresh).status_code for device in devices] == [401, 200, 200]


# Profile


PROFILE_CASES: list[tuple[str, str | None, dict[str, Any]]] = [
    ("nothing", None, NO_CREDENTIALS),
    ("another scheme", "Basic YTpi", NO_CREDENTIALS),
    ("no value", "Bearer", BAD_HEADER),
    ("two values", "Bearer a b", BAD_HEADER),
    ("garbage", "Bearer garbage", not_valid("Token is invalid or expired")),
    ("no token at all", "Bearer ..", not_valid("Token is invalid or expired")),
    ("a refresh token", "Bearer REFRESH", not_valid("Token has wrong type")),
]


@pytest.mark.parametrize(
    ("header", "body"), [case[1:] for case in PROFILE_CASES], ids=[case[0] for case in PROFILE_CASES]
)
def test_profile_without_a_right_token(
    header: str | None, body: dict[str, Any], client: httpx.Client
) -> None:
    person = Person().register(client).log_in(client)
    headers = {} if header is None else {"Authorization": header.replace("REFRESH", person.refresh)}
    answer = client.get("/api/profile/", headers=headers)
    assert body_of(answer) == (401, body)
    assert answer.headers["www-authenticate"] == 'Bearer realm="api"'


def test_the_scheme_is_read_in_any_letter_case(client: httpx.Client) -> None:
    person = Person().register(client).log_in(client)
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert (
            client.get("/api/profile/", headers={"Authorization": f"{scheme} {person.access}"}).status_code
            == 200
        )
