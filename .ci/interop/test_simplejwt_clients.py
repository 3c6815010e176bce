"""Clients that were written for SimpleJWT backends, as they are: logged in while access tokens expire, and out."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conftest import Install
from latchkey import Person, Server

DRIVER = Path(__file__).parent / "simplejwt_clients.mjs"
CLIENTS = ["axios-auth-refresh, storing both", "axios-auth-refresh, storing access"] + [
    "axios-jwt, storing both",
    "axios-jwt, storing access",
]
# In seconds. The grace is over long before the first refresh token expires.
ACCESS, REFRESH, GRACE = 2, 12, 1


def drive(server: Server, client: str, seconds: int) -> dict[str, Any]:
    """Logs somebody in with this client and returns what it saw."""
    with server.client() as http:
        person = Person().register(http)
    command = [os.environ["LATCHKEY_TEST_NODE"], str(DRIVER), server.url, person.email, person.password]
    done = subprocess.run([*command, client, str(seconds)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def drive_all(install: Install, keep_first: bool, seconds: int) -> dict[str, dict[str, Any]]:
    lifetimes = {"access_lifetime": f"{ACCESS}s", "refresh_lifetime": f"{REFRESH}s", "reuse_grace": f"{GRACE}s"}
    server = install({"tokens": lifetimes | {"keep_first": keep_first}}).start()
    with ThreadPoolExecutor(len(CLIENTS)) as pool:
        return dict(zip(CLIENTS, pool.map(lambda client: drive(server, client, seconds), CLIENTS), strict=True))


def test_clients_stay_logged_in_for_as_long_as_they_should(install: Install) -> None:
    for client, seen in drive_all(install, True, REFRESH + 3).items():
        stores = client.endswith("both")
        served = [second for status, second in seen["profiles"] if status == 200]
        refused = [second for status, second in seen["profiles"] if status != 200]
        assert len(served) > 20 and seen["refreshes"] >= 4, client
        if stores:
            assert not refused, f"{client} was logged out after {refused} s"
            assert (seen["logout"], seen["after"]) == (204, 401), client
        else:
            # Until the first refresh token expires, and no longer.
            assert refused and REFRESH - 1 < min(refused) < REFRESH + 1, f"{client}: {refused}"
            assert max(served) < min(refused), client


@pytest.mark.parametrize("keep_first", [True, False])
def test_a_logout_ends_the_session_of_every_client(keep_first: bool, install: Install) -> None:
    """With `keep_first = false`, a client that stores no refresh token is logged out after the grace."""
    for client, seen in drive_all(install, keep_first, 2 * ACCESS + 2 * GRACE).items():
        statuses = [status for status, _ in seen["profiles"]]
        if keep_first or client.endswith("both"):
            assert set(statuses) == {200}, client
            assert (seen["logout"], seen["after"]) == (204, 401), client
        else:
            assert statuses[-1] != 200, client
