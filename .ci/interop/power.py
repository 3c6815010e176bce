"""Files and directories as a power cut leaves them, played through on a journal (journal.c)."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

# Says of each write since the last flush whether it reaches the disk.
Survives = Callable[[], bool]


@dataclass
class File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Callable[[bytearray], None]] = field(default_factory=list)

    def flush(self) -> None:
        self.durable = self.left(lambda: True)
        self.pending.clear()

    def left(self, survives: Survives) -> bytearray:
        data = bytearray(self.durable)
        for change in self.pending:
            if survives():
                change(data)
        return data


@dataclass
class Directory:
    """Entries reach the disk in their order, and surely only when the directory itself is flushed."""

    durable: dict[str, File | Directory] = field(default_factory=dict)
    pending: list[Callable[[dict[str, File | Directory]], None]] = field(default_factory=list)
    now: dict[str, File | Directory] = field(default_factory=dict)

    def change(self, change: Callable[[dict[str, File | Directory]], None]) -> None:
        change(self.now)
        self.pending.append(change)

    def flush(self) -> None:
        self.durable = dict(self.now)
        self.pending.clear()

    def left(self, luck: random.Random, fate: str) -> dict[str, File | Directory]:
        count = {"nothing": 0, "everything": len(self.pending)}.get(fate)
        entries = dict(self.durable)
        for change in self.pending[: luck.randint(0, len(self.pending)) if count is None else count]:
            change(entries)
        return entries


class Disk:
    """What lies below one directory, which is there and durable from the beginning."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = Directory()

    def _directory(self, path: Path) -> Directory:
        node: File | Directory = self.top
        for part in path.relative_to(self.root).parts:
            assert isinstance(node, Directory)
            node = node.now[part]
        assert isinstance(node, Directory), path
        return node

    def _file(self, path: Path) -> File:
        node = self._directory(path.parent).now[path.name]
        assert isinstance(node, File), path
        return node

    def play(self, line: str) -> None:
        """Does what one line of the journal says."""
        what, name, *rest = line.split("\t")
        path = Path(name)
        if what in ("create", "mkdir"):
            node: File | Directory = File() if what == "create" else Directory()
            self._directory(path.parent).change(lambda entries: entries.update({path.name: node}))
        elif what == "unlink":
            self._directory(path.parent).change(lambda entries: drop(entries, path.name))
        elif what == "rename":
            to = Path(rest[0]).name
            self._directory(path.parent).change(lambda entries: move(entries, path.name, to))
        elif what == "write":
            offset, data = int(rest[0]), bytes.fromhex(rest[1])
            self._file(path).pending.append(lambda file: put(file, offset, data))
        elif what == "resize":
            self._file(path).pending.append(lambda file: resize(file, int(rest[0])))
        elif what == "flush":
            found = self.top if path == self.root else self._directory(path.parent).now[path.name]
            found.flush()
        else:
            raise AssertionError(line)

    def lay_out(self, place: Path, luck: random.Random, fate: str) -> None:
        """Writes what a power cut leaves now into `place`."""
        survives = {"nothing": lambda: False, "everything": lambda: True}.get(
            fate, lambda: luck.random() < 0.5
        )

        def lay(directory: Directory, place: Path) -> None:
            for name, node in directory.left(luck, fate).items():
                if isinstance(node, Directory):
                    (place / name).mkdir(mode=0o700)
                    lay(node, place / name)
                else:
                    (place / name).write_bytes(node.left(survives))
                    os.chmod(place / name, 0o644 if name.endswith(".pub.pem") else 0o600)

        lay(self.top, place)


def drop(entries: dict[str, File | Directory], name: str) -> None:
    entries.pop(name, None)


def move(entries: dict[str, File | Directory], name: str, to: str) -> None:
    if name in entries:
        entries[to] = entries.pop(name)


def put(file: bytearray, offset: int, data: bytes) -> None:
    if len(file) < offset:
        file.extend(bytes(offset - len(file)))
    file[offset : offset + len(data)] = data


def resize(file: bytearray, length: int) -> None:
    file.extend(bytes(max(0, length - len(file))))
    del file[length:]
