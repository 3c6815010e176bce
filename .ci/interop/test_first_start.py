"""The power goes at any moment of the very first start, or of the first requests after it."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Install
from latchkey import REPOSITORY, Installation, Person, refresh
from power import Disk

# Everything is cut at that creates, moves, removes or flushes; of the writes every so many.
WRITES = 25

# The issuer is written out, since the port differs from each start to the next.
COMMON = {
    "mail": {"transport": "log"},
    "tokens": {"issuer": "https://accounts.example.org"},
}


@pytest.fixture
def preloaded(tmp_path: Path) -> Path:
    """The library that keeps the journal."""
    library = tmp_path / "journal.so"
    source = REPOSITORY / ".ci/interop/journal.c"
    compiler = os.environ.get("CC", "cc")
    flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library)]
    subprocess.run([compiler, *flags, str(source), "-ldl"], check=True)
    return library


def first_start(installation: Installation, preloaded: Path, root: Path) -> tuple[list[str], Person]:
    """Starts a server where there is nothing, and registers somebody: the journal of all that."""
    journal = installation.root / "journal.txt"
    server = installation.start(
        env={"LD_PRELOAD": str(preloaded), "JOURNAL": str(journal), "JOURNAL_ROOT": str(root)}
    )
    with server.client() as client:
        person = Person().register(client).log_in(client)
        with journal.open("a") as file:
            file.write("answered\n")
        # What is written from here on changes nothing that was answered.
        person.in_another_session().log_in(client)
    server.kill()
    return journal.read_text().splitlines(), person


def test_a_power_cut_in_the_first_start_leaves_what_the_next_makes_good(
    install: Install, preloaded: Path, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    config = {"storage": {"directory": str(root / "data")}} | COMMON
    journal, person = first_start(install(config), preloaded, root)
    kinds = {line.split("\t")[0] for line in journal}
    assert kinds >= {"create", "mkdir", "rename", "write", "resize", "flush", "answered"}, kinds

    disk, luck = Disk(root), random.Random(7)
    is_answered, cuts = False, 0
    for number, line in enumerate(journal):
        is_chosen = line.split("\t")[0] != "write" or number % WRITES == 0
        for fate in ("nothing", "everything", "some") if is_chosen else ():
            cuts += 1
            check(install, disk, luck, fate, f"{number}-{fate}", person if is_answered else None)
        if line == "answered":
            is_answered = True
        else:
            disk.play(line)
    assert is_answered and cuts >= 50
    tell(f"{cuts} power cuts in a journal of {len(journal)} lines")


def check(
    install: Install,
    disk: Disk,
    luck: random.Random,
    fate: str,
    name: str,
    person: Person | None,
) -> None:
    """Starts on what is left, and asks for what was answered, if it was."""
    installation = install(COMMON, name)
    disk.lay_out(installation.root, luck, fate)
    server = installation.start()
    with server.client() as client:
        Person().register(client).log_in(client)
        if person:
            # With the same keys, too.
            assert refresh(client, person.refresh).status_code == 200
            assert person.profile(client).status_code == 200
            person.in_another_session().log_in(client)
    server.kill()
