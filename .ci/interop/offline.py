"""What a service does that verifies access tokens by itself and honours a logout all the same."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
import jwt

from latchkey import base64url

FEED = "/.well-known/revoked-sessions"


class Refused(Exception):
    """This token is not taken."""


class OfflineVerifier:
    """Never asks the server about a token; reads the key set and, once a minute, the feed."""

    def __init__(self, client: httpx.Client, issuer: str) -> None:
        self._client = client
        self._issuer = issuer
        self._keys = jwt.PyJWKClient(str(client.base_url.join("/.well-known/jwks.json")))
        self._tag = ""
        self.feed: dict[str, Any] = {"iat": 0, "exp": 0, "sessions": [], "complete": True}

    def read_feed(self) -> int:
        """Reads the feed unless it is as it was, and returns the status of the answer."""
        answer = self._client.get(FEED, headers={"If-None-Match": self._tag})
        if answer.status_code == 200:
            self.take_feed(answer.text)
            self._tag = answer.headers["etag"]
        return answer.status_code

    def take_feed(self, text: str) -> None:
        """Takes a feed for the newest, if it is one and newer than the one there is."""
        if jwt.get_unverified_header(text).get("typ") != "revoked-sessions+jwt":
            raise Refused("this is no feed")
        feed = self._claims(text, ["iat", "exp", "iss"])
        if feed["iat"] < self.feed["iat"]:
            raise Refused("this feed is older than the one there is")
        self.feed = feed

    def check(self, token: str, now: float) -> dict[str, Any]:
        """The claims of a token that is good as far as the feed knows."""
        if now >= self.feed["exp"]:
            raise Refused("the feed has expired, and who knows what has ended since")
        claims = self._claims(token, ["exp", "sid", "token_type"])
        if claims["token_type"] != "access":
            raise Refused("this is no access token")
        digest = hashlib.sha256(claims["sid"].encode()).digest()[:16]
        if base64url(digest) in self.feed["sessions"]:
            raise Refused("this session has ended")
        return claims

    def _claims(self, token: str, required: list[str]) -> dict[str, Any]:
        try:
            key = self._keys.get_signing_key_from_jwt(token)
            options: Any = {"require": required}
            return jwt.decode(token, key, algorithms=["EdDSA"], issuer=self._issuer, options=options)
        except jwt.PyJWTError as error:
            raise Refused(str(error)) from error
