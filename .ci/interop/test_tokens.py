"""Access tokens, as the services that take them verify them; and forgeries, as attackers make them."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import stat
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from conftest import Install
from latchkey import Installation, Person, base64url, from_base64url, refresh, wait_until
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


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_refresh_token_passes_for_no_access_token(algorithm: str, install: Install) -> None:
    installation = install(with_algorithm(algorithm))
    with installation.start().client() as client:
        person = Person().register(client).log_in(client)
        answer = client.get("/api/profile/", headers={"Authorization": f"Bearer {person.refresh}"})
        assert answer.status_code == 401
        assert answer.json()["messages"][0]["message"] == "Token has wrong type"
    claims = claims_of(person.refresh)
    assert set(claims) == REFRESH_CLAIMS
    assert claims["token_type"] == "refresh"
    assert claims["user_id"] == person.user["id"]
    assert claims["exp"] - claims["iat"] == 24 * 60 * 60
    assert claims["sid"] == claims_of(person.access)["sid"]
    with pytest.raises(jwt.InvalidTokenError):
        jwt.decode(person.refresh, verifying_key(installation, algorithm), algorithms=[algorithm])


def test_the_public_files_hold_keys_of_their_kind_and_the_others_are_for_nobody(install: Install) -> None:
    for algorithm in ALGORITHMS:
        installation = install(with_algorithm(algorithm), name=algorithm)
        installation.start().stop()
        if algorithm != "HS256":
            key = load_pem_public_key(key_file(installation, algorithm).read_bytes())
            if algorithm == "EdDSA":
                assert isinstance(key, ed25519.Ed25519PublicKey)
            else:
                assert isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
        assert stat.S_IMODE(installation.keys.stat().st_mode) == 0o700
        private = [path for path in installation.keys.iterdir() if not path.name.endswith(".pub.pem")]
        assert private
        assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}


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


def hmac_signed(header: dict[str, Any], claims: dict[str, Any], key: bytes) -> str:
    signed = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    return signed + "." + base64url(hmac.digest(key, signed.encode(), hashlib.sha256))


def forgeries(installation: Installation, token: str) -> dict[str, str]:
    """Ways into services that trust what a token says of itself, for a token of either kind."""
    header, claims = jwt.get_unverified_header(token), claims_of(token)
    public = key_file(installation, "EdDSA").read_bytes()
    own = ed25519.Ed25519PrivateKey.generate()
    own_public = base64url(own.public_key().public_bytes_raw())
    own_header = {name: value for name, value in header.items() if name != "alg"}
    own_jwk = {"kty": "OKP", "crv": "Ed25519", "x": own_public}

    def signed(**extra: Any) -> str:
        return jwt.encode(claims, own, algorithm="EdDSA", headers=own_header | extra)

    head, body, signature = token.split(".")
    return {
        "no signature": f"{head}.{body}.",
        "no algorithm": forged(token, header=header | {"alg": "none"}),
        "no algorithm, no signature": forged(token, header=header | {"alg": "none"}).rsplit(".", 1)[0] + ".",
        "the public key as a shared secret": hmac_signed(header | {"alg": "HS256"}, claims, public),
        "an empty shared secret": hmac_signed(header | {"alg": "HS256"}, claims, b""),
        "a key of one's own": signed(),
        "a key of one's own, brought along": signed(jwk=own_jwk),
        "a key of one's own, without a name": jwt.encode(claims, own, algorithm="EdDSA"),
        "an unknown name": signed(kid="access-eddsa-0000"),
        "a name that is a path": signed(kid="../keys/" + header["kid"]),
        "other claims": forged(token, claims=claims | {"user_id": claims["user_id"] + 1}),
        "one bit of the signature": f"{head}.{body}.{flipped(signature)}",
        "an unknown critical header": forged(token, header=header | {"crit": ["b64"], "b64": False}),
        "two parts": f"{head}.{body}",
        "four parts": token + ".e30",
        "padding": token + "==",
    }


def flipped(signature: str) -> str:
    data = bytearray(from_base64url(signature))
    data[10] ^= 1
    return base64url(bytes(data))


def test_forgeries_are_refused_and_change_nothing(install: Install) -> None:
    installation = install(with_algorithm("EdDSA"))
    with installation.start().client() as client:
        person = Person().register(client).log_in(client)
        for how, token in forgeries(installation, person.access).items():
            answer = client.get("/api/profile/", headers={"Authorization": f"Bearer {token}"})
            assert (answer.status_code, answer.json()["code"]) == (401, "token_not_valid"), how
        for how, token in forgeries(installation, person.refresh).items():
            answer = refresh(client, token)
            assert (answer.status_code, answer.json().get("code")) == (401, "token_not_valid"), how
        assert person.profile(client).status_code == 200
        assert person.rotate(client).profile(client).status_code == 200
