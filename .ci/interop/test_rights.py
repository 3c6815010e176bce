"""What is kept is its owner's alone: whatever the umask, and whatever was done to it since."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Install
from latchkey import BINARY, Installation, Person, snapshot
from letters import letter_to

NOBODY = 65534


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def everything(installation: Installation) -> list[Path]:
    return [
        installation.data,
        *installation.data.rglob("*"),
        installation.mail,
        *installation.mail.rglob("*"),
    ]


# 0777 takes everything from everybody, and what the server needs from its owner too.
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277, 0o777], ids=oct)
def test_whatever_the_umask(umask: int, install: Install) -> None:
    installation = install()
    installation.write_config()
    before = os.umask(umask)
    try:
        server = installation.start()
    finally:
        os.umask(before)
    with server.client() as client:
        person = Person().register(client)
        letter_to(installation.mail, person.email)
        rotated = subprocess.run(
            [str(installation.binary), "keys", "rotate", "--config", str(installation.config_file)],
            cwd=installation.root,
            env=installation.environment(),
            capture_output=True,
            umask=umask,
        )
        assert rotated.returncode == 0, rotated.stderr
    found = everything(installation)
    names = {path.name for path in found}
    assert {"data", "latchkey.redb", "lock", "keys", "mail"} <= names
    assert len([name for name in names if name.startswith("access-")]) == 4, "two keys, each with its public half"
    for path in found:
        is_public = path.name.endswith(".pub.pem")
        expected = 0o700 if path.is_dir() else 0o644 if is_public else 0o600
        assert rights(path) == expected, f"{path}: {rights(path):o}"


def places(installation: Installation) -> dict[str, Path]:
    keys = {
        path.name.split("-")[0]: path
        for path in installation.keys.iterdir()
        if not path.name.endswith(".pub.pem")
    }
    assert set(keys) == {"access", "refresh", "ticket"}
    return keys | {
        "data": installation.data,
        "keys": installation.keys,
        "database": installation.database,
        "mail": installation.mail,
    }


@pytest.mark.parametrize("place", ["data", "keys", "database", "mail", "access", "refresh", "ticket"])
def test_wider_rights_are_refused_with_the_command_that_mends_them(place: str, install: Install) -> None:
    installation = install({"passwords": {"memory": "19MiB", "iterations": 2}})
    with installation.start().client() as client:
        person = Person().register(client).log_in(client)
        letter_to(installation.mail, person.email)
    installation.servers[-1].stop()
    path = places(installation)[place]
    good = rights(path)
    assert good in (0o700, 0o600)
    for more in (0o040, 0o020, 0o010, 0o004, 0o002, 0o001, 0o077):
        path.chmod(good | more)
        before = snapshot(installation.data)
        answer = installation.run("--config", str(installation.config_file))
        assert answer.returncode == 1 and answer.stdout == "", answer.stderr
        command = f"chmod {good:o} {path}"
        assert command in answer.stderr, f"{good | more:o}: {answer.stderr}"
        assert snapshot(installation.data) == before, "a refused start changes nothing"
        # The command does what it is said to.
        subprocess.run(command, shell=True, check=True)
        assert rights(path) == good
    with installation.start().client() as client:
        person.rotate(client)


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A directory that other users can enter, unlike those of the tests."""
    directory = Path(tempfile.mkdtemp(prefix="latchkey-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def test_a_directory_that_may_not_be_written(open_to_all: Path) -> None:
    """Root may write anywhere, so the server runs as nobody where root runs the tests."""
    user = NOBODY if os.geteuid() == 0 else None
    binary = shutil.copy(BINARY, open_to_all / "latchkey")
    installation = Installation(open_to_all, {"mail": {"transport": "log"}}, Path(binary))
    installation.write_config()

    def is_refused() -> None:
        answer = installation.run("--config", str(installation.config_file), user=user)
        assert (answer.returncode, answer.stdout) == (1, "")
        assert str(installation.data) in answer.stderr and "panicked" not in answer.stderr

    open_to_all.chmod(0o555)
    is_refused()
    assert not installation.data.exists()
    open_to_all.chmod(0o755)

    installation.start().stop()
    everything = [installation.data, *installation.data.rglob("*")]
    for path in everything:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = snapshot(installation.data)
    is_refused()
    assert snapshot(installation.data) == before
    for path in everything:
        path.chmod(0o755 if path.is_dir() else 0o644)
