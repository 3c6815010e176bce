"""Keys for everybody: the published set, rotation while the server runs, and keys that leaked."""

from __future__ import annotations

import re
import time
from typing import Any

import httpx
import jwt
import pytest

from conftest import Install
from latchkey import Config, Installation, Person, Server, refresh, wait_until
from test_tokens import ALGORITHMS, ISSUER, claims_of, forged
from verifiers import jose, simplejwt
from wire import INVALID_TOKEN, body_of, not_valid

PUBLIC = ["EdDSA", "ES256"]
KEY_SET = "/.well-known/jwks.json"
# How long a new key is published before it signs, in seconds.
ACTIVATION = 4


def quickly(algorithm: str, **tokens: Any) -> Config:
    """A configuration under which a rotation takes seconds."""
    return {
        "tokens": {"algorithm": algorithm, "issuer": ISSUER, "key_activation": f"{ACTIVATION}s"} | tokens
    }


def keys_command(installation: Installation, *arguments: str) -> str:
    done = installation.run("keys", *arguments, "--config", str(installation.config_file))
    assert done.returncode == 0, done.stderr
    return done.stdout


def published(client: httpx.Client) -> list[str]:
    """The names in the key set."""
    return [key["kid"] for key in client.get(KEY_SET).json()["keys"]]


def max_age(client: httpx.Client) -> int:
    found = re.search(r"max-age=(\d+)", client.get(KEY_SET).headers["cache-control"])
    assert found
    return int(found[1])


def kid(token: str) -> str:
    return jwt.get_unverified_header(token)["kid"]


def reader(server: Server, lifespan: float = 3600) -> jwt.PyJWKClient:
    return jwt.PyJWKClient(server.url + KEY_SET, lifespan=lifespan)


def decoded(keys: jwt.PyJWKClient, token: str, algorithm: str) -> dict[str, Any]:
    key = keys.get_signing_key_from_jwt(token)
    return jwt.decode(token, key, algorithms=[algorithm], issuer=ISSUER)


def rotate_until_published(installation: Installation, client: httpx.Client) -> str:
    """Rotates, and waits until the running server publishes the new key; returns its name."""
    before = set(published(client))
    keys_command(installation, "rotate")
    new = wait_until(lambda: set(published(client)) - before, what="the new key to be published")
    assert before < set(published(client)) and len(new) == 1
    return new.pop()


@pytest.mark.parametrize("algorithm", PUBLIC)
def test_pyjwt_follows_a_rotation_with_the_set_it_has(algorithm: str, install: Install) -> None:
    """Read once while both keys are published, the set is good for the tokens of either."""
    installation = install(quickly(algorithm, access_lifetime="8s"))
    server = installation.start()
    with server.client() as client:
        person = Person().register(client).log_in(client)
        old_kid, old_token = kid(person.access), person.access
        assert decoded(reader(server), old_token, algorithm)["user_id"] == person.user["id"]

        began = time.monotonic()
        new_kid = rotate_until_published(installation, client)
        keys = reader(server)
        keys.get_jwk_set()
        keys.fetch_data = lambda: pytest.fail("the set that is cached should do")  # type: ignore[method-assign]
        assert decoded(keys, old_token, algorithm)

        # Until its time the new key signs nothing.
        person.rotate(client)
        if time.monotonic() - began < ACTIVATION / 2:
            assert kid(person.access) == old_kid

        def is_signed_by_the_new() -> bool:
            person.rotate(client)
            assert decoded(keys, person.access, algorithm)["user_id"] == person.user["id"]
            return kid(person.access) == new_kid

        wait_until(is_signed_by_the_new, what="the new key to sign")
        assert time.monotonic() - began >= ACTIVATION - 0.5, "not before every cache has it"
        last = person.in_another_session().log_in(client)
        assert kid(last.access) == new_kid
        listed = keys_command(installation, "list")
        assert re.search(rf"^{old_kid} .* verifying until ", listed, re.MULTILINE), listed
        assert re.search(rf"^{new_kid} .* signing$", listed, re.MULTILINE), listed

        # What the old key signed last is good to its end, and then the key goes.
        wait_until(lambda: published(client) == [new_kid], 40, "the old key to go")
        with pytest.raises(jwt.ExpiredSignatureError):
            decoded(keys, old_token, algorithm)
        wait_until(lambda: not list(installation.keys.glob(f"{old_kid}*")), what="the files to go")
        assert person.rotate(client).profile(client).status_code == 200


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_compromised_keys_are_good_for_nothing(algorithm: str, install: Install) -> None:
    installation = install(quickly(algorithm))
    server = installation.start()
    with server.client() as client:
        person = Person().register(client).log_in(client)
        before = {path.name for path in installation.keys.iterdir()}
        keys_command(installation, "rotate", "--compromised")
        wait_until(lambda: person.profile(client).status_code == 401, what="the old token to be refused")
        assert body_of(person.profile(client)) == (401, not_valid("Token is invalid or expired"))
        assert body_of(refresh(client, person.refresh)) == (401, INVALID_TOKEN)

        again = person.in_another_session().log_in(client)
        assert kid(again.access) != kid(person.access)
        assert again.profile(client).status_code == 200
        assert again.rotate(client).profile(client).status_code == 200
        if algorithm in PUBLIC:
            assert published(client) == [kid(again.access)]
            assert decoded(reader(server), again.access, algorithm)
            with pytest.raises(jwt.PyJWKClientError):
                decoded(reader(server), person.access, algorithm)
        gone = before - {path.name for path in installation.keys.iterdir()}
        assert any(name.startswith("access-") for name in gone)
        assert any(name.startswith("refresh-") for name in gone)
        assert any(name.startswith("ticket-") for name in gone)
    installation.servers[-1].kill()
    with installation.start().client() as client:
        assert refresh(client, person.refresh).status_code == 401
        assert again.rotate(client).profile(client).status_code == 200


@pytest.mark.parametrize("algorithm", PUBLIC)
@pytest.mark.parametrize("library", [simplejwt, jose], ids=["simplejwt", "jose"])
def test_other_libraries_follow_a_rotation(library: Any, algorithm: str, install: Install) -> None:
    installation = install(quickly(algorithm))
    server = installation.start()
    with server.client() as client:
        person = Person().register(client).log_in(client)
        old_token = person.access
        settings = {
            "algorithm": algorithm,
            "issuer": ISSUER,
            "jwk_url": server.url + KEY_SET,
            "max_age": max_age(client),
        }
        with library(settings) as service:

            def is_taken(token: str) -> bool:
                answer = service.ask(token)
                claims = answer.get("claims") or answer.get("body", {}).get("claims")
                assert claims in (None, claims_of(token)), answer
                return claims is not None

            assert is_taken(old_token)
            for refused in (
                person.refresh,
                forged(old_token, claims=claims_of(old_token) | {"user_id": 999}),
                forged(old_token, header={"alg": "none", "kid": kid(old_token)}),
            ):
                assert not is_taken(refused)

            new_kid = rotate_until_published(installation, client)

            def is_signed_by_the_new() -> bool:
                person.rotate(client)
                assert is_taken(person.access), f"signed by {kid(person.access)}"
                return kid(person.access) == new_kid

            wait_until(is_signed_by_the_new, what="the new key to sign")
            assert is_taken(old_token)
