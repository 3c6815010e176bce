"""The server is what its description says: in a life that succeeds, in refusals, and to a program
that makes up requests from the description alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from conftest import Install
from described import EXAMPLE_PASSWORD, Description
from latchkey import Installation, Person, Server, wait_until
from letters import letters_in, press, text_of
from wire import CONFIRM, FRONTEND

COOKIES = {"cookies": {"enabled": True}, "server": {"allowed_origins": [FRONTEND]}}
ORIGIN = {"Origin": FRONTEND}
NEW_PASSWORD = "seven quiet owls at dawn"
BAD_BODIES = [
    ("application/json", b"["),
    ("application/json", b"null"),
    ("application/json", b'{"token": "x", "refresh": "x"}'),
    ("application/x-www-form-urlencoded", b"token=%ff"),
    ("text/plain", b"x"),
    ("application/json", bytes(70_000)),
]
# Rounds of schemathesis's, and how long they may take.
EXAMPLES = 25
SECONDS = 180


def description_of(server: Server) -> Description:
    with server.client() as client:
        answer = client.get("/api/schema/")
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert document["servers"] == [{"url": server.url}]
    assert document["info"]["version"] == server.version
    return Description(document)


def new_token(installation: Installation, address: str, known: set[str]) -> str:
    """Waits for a letter to `address` with a link whose token is not `known` yet, and makes it known."""

    def found() -> set[str]:
        letters = [letter for letter in letters_in(installation.mail) if letter["To"] == address]
        return {token for letter in letters for token in tokens_in(text_of(letter))} - known

    [token] = wait_until(found, what=f"a link for {address}")
    known.add(token)
    return token


def tokens_in(text: str) -> set[str]:
    return set(re.findall(r"https?://\S+(?:[?&]token=|/reset-password/)([A-Za-z0-9_-]+)", text))


def test_a_whole_life_is_as_described(install: Install) -> None:
    installation = install(COOKIES)
    server = installation.start()
    description = description_of(server)
    with description.watch(server.client()) as client:
        for path in ("/api/schema/", "/healthz", "/readyz", "/.well-known/jwks.json"):
            assert client.get(path).status_code == 200, path
        feed = client.get("/.well-known/revoked-sessions")
        tag = {"If-None-Match": feed.headers["etag"]}
        assert client.get("/.well-known/revoked-sessions", headers=tag).status_code == 304

        ann = Person(password=EXAMPLE_PASSWORD).register(client)
        known: set[str] = set()
        token = new_token(installation, ann.email, known)
        page = client.get(CONFIRM, params={"token": token})
        assert press(client, page, "confirm").status_code == 200
        assert client.post(CONFIRM, json={"token": token}).status_code == 200
        assert client.post(CONFIRM, data={"token": token, "action": "disown_confirmed"}).status_code == 409
        assert client.post("/api/resend-verification/", json={"email": ann.email}).status_code == 200

        ann.log_in(client).rotate(client).profile(client)
        for token in (ann.access, ann.refresh):
            assert client.post("/api/token/verify/", json={"token": token}).status_code == 200
        change_the_profile(client, installation, ann, known)
        lose_the_password(client, installation, ann, known)
        new = {"new_password": EXAMPLE_PASSWORD, "confirm_password": EXAMPLE_PASSWORD}
        change = {"current_password": ann.password} | new
        ann.log_in(client)
        assert client.post("/api/change-password/", json=change, headers=ann.bearer).status_code == 200
        ann.password = EXAMPLE_PASSWORD
        end_sessions(client, ann)
        use_cookies(client, ann)

        ann.log_in(client)
        sent = {"email": ann.email, "password": ann.password}
        assert client.post("/api/token/", json=sent).status_code == 200
        gone = client.request("DELETE", "/api/profile/", json={"password": ann.password}, headers=ann.bearer)
        assert gone.status_code == 204
        assert ann.profile(client).status_code == 401

    unseen = {pair for pair in description.statuses if 200 <= pair[1] < 300} - description.seen
    assert not unseen, "described as successes, and none has been seen"


def change_the_profile(
    client: httpx.Client, installation: Installation, ann: Person, known: set[str]
) -> None:
    url = "/api/profile/"
    assert client.patch(url, json={"username": "ann.lee"}, headers=ann.bearer).status_code == 200
    new = f"new-{ann.email}"
    change = {"email": new, "username": "", "current_password": ann.password}
    answer = client.put(url, json=change, headers=ann.bearer)
    assert answer.json()["pending_email"] == new
    token = new_token(installation, new, known)
    page = client.get(CONFIRM, params={"token": token})
    assert press(client, page, "confirm").status_code == 200
    ann.email = new
    ann.log_in(client)


def lose_the_password(
    client: httpx.Client, installation: Installation, ann: Person, known: set[str]
) -> None:
    for by in ("page", "program"):
        assert client.post("/api/forgot-password/", json={"email": ann.email}).status_code == 200
        token = new_token(installation, ann.email, known)
        form = {"token": token, "new_password": NEW_PASSWORD, "confirm_password": NEW_PASSWORD}
        if by == "page":
            assert client.get(f"/reset-password/{token}").status_code == 200
            assert client.post("/reset-password/", data=form).status_code == 200
        else:
            assert client.post("/api/reset-password/", json=form).status_code == 200
    ann.password = NEW_PASSWORD


def end_sessions(client: httpx.Client, ann: Person) -> None:
    for how in ("list", "logout", "blacklist", "all"):
        ann.log_in(client)
        match how:
            case "list":
                sessions = client.get("/api/sessions/", headers=ann.bearer).json()
                [current] = [session["id"] for session in sessions if session["current"]]
                answer = client.delete(f"/api/sessions/{current}/", headers=ann.bearer)
            case "logout":
                answer = client.post("/api/logout/", headers=ann.bearer)
            case "blacklist":
                answer = client.post("/api/token/blacklist/", json={"refresh": ann.refresh})
            case _:
                answer = client.post("/api/logout/all/", headers=ann.bearer)
        assert answer.is_success, how
        assert ann.profile(client).status_code == 401, how


def use_cookies(client: httpx.Client, ann: Person) -> None:
    """The cookie is for HTTPS alone, so it is carried by hand."""
    answer = client.post("/api/login/", json=ann.credentials | {"cookie": True}, headers=ORIGIN)
    for path in ("/api/token/refresh/", "/api/logout/"):
        cookie = {"Cookie": answer.headers["set-cookie"].split(";")[0]}
        client.cookies.clear()
        assert client.post(path, headers=cookie).status_code == 403, "from nowhere"
        answer = client.post(path, headers=cookie | ORIGIN)
        assert answer.is_success
    assert "Max-Age=0" in answer.headers["set-cookie"]
    client.cookies.clear()


def test_refusals_are_as_described(install: Install) -> None:
    server = install(COOKIES | {"login": {"max_failures": 1, "per_address_per_minute": 0}}).start()
    description = description_of(server)
    with description.watch(server.client()) as client:
        ann = Person().register(client).log_in(client)
        for label in sorted({label for label, _ in description.statuses}):
            method, path = label.split(" ")
            path = path.format(id="0" * 32, token="x")
            ann.log_in(client)
            wrong_type = {"Authorization": f"Bearer {ann.refresh}"}
            for bearer in ({}, {"Authorization": "Bearer"}, wrong_type, ann.bearer):
                for media_type, body in BAD_BODIES:
                    headers = bearer | {"Content-Type": media_type}
                    client.request(method, path, content=body, headers=headers)
        wrong = ann.credentials | {"password": "not this one"}
        assert [client.post("/api/login/", json=wrong).status_code for _ in range(2)] == [401, 429]
    assert {status for _, status in description.seen} >= {400, 401, 404, 413, 415, 429}


@pytest.mark.parametrize(
    ("config", "requests"),
    [
        ({"registration": {"enabled": False}}, [("POST", "/api/register/", 403)]),
        ({"server": {"frontend_url": FRONTEND}}, [("GET", f"{CONFIRM}?token=x", 303)]),
        (
            {"tokens": {"algorithm": "HS256"}},
            [("GET", "/.well-known/jwks.json", 404), ("GET", "/.well-known/revoked-sessions", 404)],
        ),
        ({"tokens": {"algorithm": "ES256"}}, [("GET", "/.well-known/jwks.json", 200)]),
    ],
)
def test_other_configurations_are_as_described(
    install: Install, config: dict[str, dict[str, object]], requests: list[tuple[str, str, int]]
) -> None:
    server = install(config).start()
    with description_of(server).watch(server.client()) as client:
        for method, path, status in requests:
            assert client.request(method, path).status_code == status, path


def test_an_unconfirmed_login_is_refused_as_described(install: Install) -> None:
    server = install({"login": {"require_verified_email": True}}).start()
    with description_of(server).watch(server.client()) as client:
        person = Person().register(client)
        assert client.post("/api/login/", json=person.credentials).status_code == 403


@pytest.mark.timeout(SECONDS + 60)
def test_schemathesis_finds_nothing(install: Install, tmp_path: Path, tell: Callable[[str], None]) -> None:
    """Requests made up from the description, good and bad, find no answer that it does not have."""
    installation = install(
        COOKIES
        | {
            "login": {
                "per_address_per_minute": 0,
                "max_failures": 1000,
                "max_failures_per_email": 0,
                "lockout": "1s",
            },
            # Many hashes at a time are no failure here.
            "passwords": {"max_wait": "1m"},
        }
    )
    server = installation.start()
    description = description_of(server)
    with server.client() as client:
        Person(email="ann@example.org", password=EXAMPLE_PASSWORD).register(client)
    seen = tmp_path / "seen.txt"
    here = Path(__file__).parent
    run = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{server.url}/api/schema/",
            f"--max-examples={EXAMPLES}",
            "--generation-deterministic",
            "--phases=examples,coverage,fuzzing,stateful",
            # A good request is refused for what no description can say: a wrong password, a token
            # that is nobody's.
            "--exclude-checks=positive_data_acceptance",
            "--continue-on-failure",
            "--workers=2",
            "--warnings=off",
            "--no-color",
        ],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "PYTHONPATH": str(here),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SCHEMATHESIS_HOOKS": "described",
            "LATCHKEY_URL": server.url,
            "LATCHKEY_SEEN": str(seen),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    tell(run.stdout.strip().splitlines()[-1].strip("= "))

    answers = Counter(tuple(line.rsplit(" ", 1)) for line in seen.read_text().splitlines())
    assert not [label for label, status in answers if status.startswith("5")]
    # Nothing is proved by a run that only ever meets refusals. What takes a letter, the id of a
    # session of one's own or the description itself is for the whole life above.
    elsewhere = {
        "POST /api/reset-password/",
        "GET /reset-password/{token}",
        "POST /reset-password/",
        f"GET {CONFIRM}",
        f"POST {CONFIRM}",
        "DELETE /api/sessions/{id}/",
        "GET /api/schema/",
    }
    successes = {label for label, status in answers if status.startswith("2")}
    expected = {label for label, status in description.statuses if 200 <= status < 300}
    assert expected - successes <= elsewhere, answers
