"""Answers as the chosen release of SimpleJWT gives them, read off that release, and its shared secret."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import httpx
import jwt
import pytest

from conftest import Install
from latchkey import Person, wait_until
from verifiers import HERE, Verifier

# The text that both services sign with.
SECRET_KEY = "k3&+9zq-the text of a SECRET_KEY, as Django takes it-#x"

RELEASES = ["5.3", "5.5"]


def reference(release: str) -> Verifier:
    """A service of that release: 5.5 is in the environment, and 5.3 beside it."""
    variables = dict(os.environ)
    if release == "5.3":
        variables["PYTHONPATH"] = os.environ["LATCHKEY_TEST_SIMPLEJWT_5_3"]
    command = [sys.executable, str(HERE / "simplejwt_reference.py")]
    return Verifier(command, {"secret_key": SECRET_KEY}, variables)


def told(answer: httpx.Response) -> dict[str, Any]:
    return {
        "status": answer.status_code,
        "body": answer.json(),
        "challenge": answer.headers.get("WWW-Authenticate"),
    }


@pytest.mark.parametrize("release", RELEASES)
def test_every_answer_about_tokens_is_that_of_the_release(release: str, install: Install) -> None:
    installation = install(
        {
            "compatibility": {"simplejwt": release},
            # Long enough for all that is asked before they expire.
            "tokens": {"access_lifetime": "10s", "refresh_lifetime": "10s"},
        }
    )
    with reference(release) as original, installation.start().client() as client:

        def alike(path: str, theirs: Any, ours: Any = None, **more: Any) -> None:
            ours = theirs if ours is None else ours
            expected = original.ask({"path": path, "body": theirs} | more)
            assert told(client.post(path, json=ours)) == expected, (path, theirs)

        person = Person().register(client)
        login = {"username": "ann@example.org", "password": "correct horse"}
        tokens = original.ask({"path": "/api/token/", "body": login})["body"]
        answer = client.post("/api/token/", json={"username": person.email, "password": person.password})
        assert answer.status_code == 200 and list(answer.json()) == list(tokens)
        ours = answer.json()
        for name in tokens:
            theirs = jwt.decode(tokens[name], options={"verify_signature": False})
            mine = jwt.decode(ours[name], options={"verify_signature": False})
            assert type(mine["user_id"]) is type(theirs["user_id"]), name
            assert set(theirs) <= set(mine), name

        alike("/api/token/", login | {"password": "wrong"})
        alike("/api/token/", {"username": "ann@example.org"})
        for path, field in [("/api/token/refresh/", "refresh"), ("/api/token/verify/", "token")]:
            alike(path, {field: "x.y.z"})
            alike(path, {})
        alike("/api/token/refresh/", {"refresh": tokens["access"]}, {"refresh": ours["access"]})

        def alike_at_profile(theirs: str, mine: str) -> None:
            answer = client.get("/api/profile/", headers={"Authorization": f"Bearer {mine}"})
            assert told(answer) == original.ask({"path": "/api/profile/", "bearer": theirs})

        alike_at_profile("x.y.z", "x.y.z")
        alike_at_profile(tokens["refresh"], ours["refresh"])

        expired = original.ask({"path": "/expired/"})["body"]
        claims = jwt.decode(ours["refresh"], options={"verify_signature": False})
        wait_until(lambda: time.time() > claims["exp"] + 0.1, 20, "the tokens to expire")
        alike("/api/token/refresh/", {"refresh": expired["refresh"]}, {"refresh": ours["refresh"]})
        for name in ["access", "refresh"]:
            alike("/api/token/verify/", {"token": expired[name]}, {"token": ours[name]})
        alike_at_profile(expired["access"], ours["access"])


@pytest.mark.parametrize("release", RELEASES)
def test_a_service_goes_on_verifying_with_its_secret_key(release: str, install: Install) -> None:
    installation = install({"compatibility": {"simplejwt": release}})
    environment = {"LATCHKEY_TOKENS_SHARED_SECRET": SECRET_KEY}
    config = str(installation.write_config())
    refused = installation.run("serve", "--config", config, env=environment)
    assert refused.returncode == 1 and "--new-database" in refused.stderr
    installation.start().stop()
    with reference(release) as service, installation.start(environment).client() as client:
        person = Person().register(client).log_in(client)
        answer = service.ask({"path": "/api/profile/", "bearer": person.access})
        assert answer["status"] == 200
        assert str(answer["body"]["user_id"]) == str(person.user["id"])
        other = jwt.encode({"token_type": "access"}, "another secret of more than 32 bytes", "HS256")
        assert service.ask({"path": "/api/profile/", "bearer": other})["status"] == 401
