"""Access tokens, as other libraries verify them."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from conftest import Install
from latchkey import Installation, Person, base64url, from_base64url, wait_until
from verifiers import simplejwt

ISSUER = "https://accounts.example.org"
ALGORITHMS = ["EdDSA", "ES256", "HS256"]
ACCESS_CLAIMS = {"token_type", "exp", "iat", "jti", "user_id", "iss", "sub", "sid"}
REFRESH_CLAIMS = {"token_type", "exp", "iat", "jti", "user_id", "sid", "gen"}


def key_file(installation: Installation, algorithm: str) -> Path:
    """What an operator hands to a service: the public half, or the secret both share."""
    suffix = ".secret" if algorithm == "HS256" else ".pub.pem"
    files = list(installation.keys.glob(f"access-{algorithm.lower()}-*{suffix}"))
    assert len(files) == 1, sorted(path.name for path in installation.keys.iterdir())
    return files[0]


def verifying_key(installation: Installation, algorithm: str) -> str | bytes:
    """The key in that file: PEM as it is, or the bytes of a secret, which the file has as base64url."""
    text = key_file(installation, algorithm).read_text(encoding="ascii").strip()
    return from_base64url(text) if algorithm == "HS256" else text


def with_algorithm(algorithm: str, **tokens: Any) -> dict[str, dict[str, Any]]:
    return {"tokens": {"algorithm": algorithm, "issuer": ISSUER} | tokens}


def forged(token: str, header: dict[str, Any] | None = None, claims: dict[str, Any] | None = None) -> str:
    """The token with another header or other claims under the signature that it had."""
    old_header, old_claims, signature = token.split(".")
    return ".".join(
        [
            old_header if header is None else base64url(json.dumps(header).encode()),
            old_claims if claims is None else base64url(json.dumps(claims).encode()),
            signature,
        ]
    )


def claims_of(token: str) -> dict[str, Any]:
    return json.loads(from_base64url(token.split(".")[1]))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_pyjwt_verifies_access_tokens(algorithm: str, install: Install) -> None:
    installation = install(with_algorithm(algorithm))
    with installation.start().client() as client:
        person = Person().register(client).log_in(client)
    key = verifying_key(installation, algorithm)

    header = jwt.get_unverified_header(person.access)
    assert header["alg"] == algorithm
    assert (
        key_file(installation, algorithm).name.removesuffix(".pub.pem").removesuffix(".secret")
        == header["kid"]
    )

    decoded = jwt.decode(
        person.access, key, algorithms=[algorithm], issuer=ISSUER, options={"require": sorted(ACCESS_CLAIMS)}
    )
    assert set(decoded) == ACCESS_CLAIMS
    assert decoded["token_type"] == "access"
    assert decoded["user_id"] == person.user["id"] and type(decoded["user_id"]) is int
    assert decoded["sub"] == str(person.user["id"])
    assert re.fullmatch(r"[0-9a-f]{32}", decoded["jti"])
    assert decoded["exp"] - decoded["iat"] == 30 * 60
    assert abs(decoded["iat"] - time.time()) < 60
    assert isinstance(decoded["sid"], str) and decoded["sid"]

    with pytest.raises(jwt.InvalidIssuerError):
        jwt.decode(person.access, key, algorithms=[algorithm], issuer="https://elsewhere.example")
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(forged(person.access, claims=decoded | {"user_id": 999}), key, algorithms=[algorithm])
    assert set(claims_of(person.refresh)) == REFRESH_CLAIMS
    with pytest.raises(jwt.InvalidTokenError):
        jwt.decode(person.refresh, key, algorithms=[algorithm])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_expired_access_token_is_refused_by_all(algorithm: str, install: Install) -> None:
    installation = install(with_algorithm(algorithm, access_lifetime="2s"))
    with installation.start().client() as client:
        person = Person().register(client).log_in(client)
        key = verifying_key(installation, algorithm)

        def is_expired() -> bool:
            try:
                jwt.decode(person.access, key, algorithms=[algorithm], issuer=ISSUER)
            except jwt.ExpiredSignatureError:
                return True
            return False

        wait_until(is_expired, 10, "the token to expire")
        answer = person.profile(client)
        assert answer.status_code == 401
        assert answer.json()["code"] == "token_not_valid"
        assert person.rotate(client).profile(client).status_code == 200


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_simplejwt_authenticates_without_a_database(algorithm: str, install: Install) -> None:
    installation = install(with_algorithm(algorithm))
    with installation.start().client() as client:
        person = Person().register(client).log_in(client)
    settings = {
        "algorithm": algorithm,
        "key_file": str(key_file(installation, algorithm)),
        "issuer": ISSUER,
    }
    other = forged(person.access, claims=claims_of(person.access) | {"user_id": 999})
    with simplejwt(settings) as service:
        welcome, *refusals = [service.ask(token) for token in (person.access, person.refresh, other)]
    assert welcome == {"status": 200, "body": {"id": person.user["id"], "claims": claims_of(person.access)}}
    assert [(refusal["status"], refusal["body"]["code"]) for refusal in refusals] == [
        (401, "token_not_valid")
    ] * 2
