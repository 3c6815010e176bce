"""A disk that is really full: one of a few megabytes, and a file that may not grow."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from conftest import Install
from latchkey import Person, Server, wait_until

MEBIBYTE = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB in memory, where this may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        assert "CI" not in os.environ, "CI has to run this test as root, where it may mount"
        pytest.skip("nothing can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def register_until_refused(client: httpx.Client) -> list[Person]:
    """Registers people until the disk is full; those that were answered."""
    registered: list[Person] = []
    for _ in range(20_000):
        person = Person()
        answer = client.post("/api/register/", json=person.registration)
        if answer.status_code == 503:
            assert int(answer.headers["Retry-After"]) > 0
            return registered
        assert answer.status_code == 201, answer.text
        registered.append(person)
    raise AssertionError("the disk is never full")


def becomes_ready(client: httpx.Client) -> None:
    wait_until(lambda: client.get("/readyz").status_code == 200, 30, "the server to be ready again")


def test_a_full_file_system_refuses_changes_until_there_is_room(
    small_disk: Path, install: Install
) -> None:
    installation = install({"storage": {"directory": str(small_disk / "data"), "min_free": "1MiB"}})
    server = installation.start()
    with server.client() as client:
        person = Person().register(client).log_in(client)
        hog = small_disk / "hog"
        hog.write_bytes(b"\0" * (9 * MEBIBYTE))
        registered = register_until_refused(client)
        with hog.open("ab", buffering=0) as file:
            with pytest.raises(OSError):
                while file.write(b"\0" * 4096):
                    pass
        # Nothing at all is free now.
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        assert person.profile(client).status_code == 200
        assert client.post("/api/login/", json=person.credentials).status_code == 503
        hog.unlink()
        becomes_ready(client)
        person.rotate(client)
        for other in [*registered, Person().register(client)]:
            other.log_in(client)
    server.stop()
    with installation.start().client() as client:
        person.rotate(client)
        registered[-1].log_in(client)


def limit_files(server: Server, size: int) -> None:
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, hard))


def test_a_file_that_may_not_grow_takes_nothing_that_was_answered(install: Install) -> None:
    installation = install({"mail": {"transport": "log"}})
    # Without the signal, which Python ignores and passes on, a write fails as on a full disk.
    server = installation.start(restore_signals=False)
    with server.client() as client:
        person = Person().register(client).log_in(client)
        limit_files(server, installation.database.stat().st_size)
        registered = register_until_refused(client)
        assert registered, "there is room within the file"
        assert client.get("/healthz").status_code == 200
        wait_until(lambda: person.profile(client).status_code == 200, 30, "the file to be open again")
        limit_files(server, resource.RLIM_INFINITY)
        becomes_ready(client)
        person.rotate(client)
        for other in [*registered, Person().register(client)]:
            other.log_in(client)
    server.kill()
    with installation.start().client() as client:
        person.rotate(client)
        for other in registered:
            other.log_in(client)
