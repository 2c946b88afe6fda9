"""The memory of a build in one SQLite file: what was drawn, what became of it. Every change is one transaction, so that kill -9 loses nothing.

A drawn program is a row with a number; its result is written into the same row, once. What was drawn but has no result is worked on again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..ir.diagnostic import Unreadable, WarploomError
from .dedup import Keys
from .program import Program
from .record import SCHEMA

FILE = "state.sqlite"
_TABLES = """
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS drawn (
  number INTEGER PRIMARY KEY, program TEXT NOT NULL, same TEXT NOT NULL UNIQUE, family TEXT NOT NULL, signature TEXT NOT NULL, features TEXT NOT NULL,
  outcome TEXT, result TEXT, seconds REAL);
CREATE TABLE IF NOT EXISTS spell (number INTEGER PRIMARY KEY, seconds REAL NOT NULL, finished INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS skipped (why TEXT PRIMARY KEY, times INTEGER NOT NULL);
"""


class OtherDataset(WarploomError):
    """The folder holds a data set of another version or seed, or one that is not to be continued. Use --resume or another --out."""

    code = "WL-E112"


class Busy(WarploomError):
    """Another build works in this folder. Wait for it, or end it."""

    code = "WL-E113"


class CannotWrite(WarploomError):
    """The folder cannot be written: rights, or the disk is full. What was done is kept; give the command again with --resume."""

    code = "WL-E114"


@dataclass(frozen=True)
class Drawn:
    """A program that was drawn."""

    number: int
    program: Program
    keys: Keys
    features: Mapping[str, object]
    outcome: str | None = None


class State:
    """The file of one data set; one process at a time."""

    def __init__(self, folder: Path):
        self.folder = folder
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._lock)
                raise Busy(f"another build works in {folder}") from None
            self.db = sqlite3.connect(folder / FILE)
            self.db.execute("PRAGMA journal_mode = WAL")
            self.db.execute("PRAGMA synchronous = FULL")
            self.db.executescript(_TABLES)

    def agree(self, settings: Mapping[str, str], resume: bool) -> None:
        """Keep what identifies the data set; a folder that has one is continued only with `resume` and equal settings. Raises OtherDataset."""
        known = dict(self.db.execute("SELECT name, value FROM setting").fetchall())
        if known and known.get("schema") != str(SCHEMA):
            raise OtherDataset(f"{self.folder} has a data set of schema {known.get('schema')}, this version writes {SCHEMA}")
        if known and not resume:
            raise OtherDataset(f"{self.folder} has a data set already", hint="give --resume, or another --out")
        for name, value in settings.items():
            if known and known.get(name) != value:
                raise OtherDataset(f"{self.folder} has a data set with {name}={known.get(name)}, not {value}")
        with writing(self.folder), self.db:
            rows = [*settings.items(), ("schema", str(SCHEMA))]
            self.db.executemany("INSERT OR REPLACE INTO setting VALUES (?, ?)", rows)

    # ---- what was drawn ----
    def draw(self, drawn: Drawn) -> None:
        """Keep a new program."""
        row = (drawn.number, drawn.program.to_json(), drawn.keys.same, drawn.keys.family, json.dumps(drawn.keys.signature), json.dumps(drawn.features))
        with writing(self.folder), self.db:
            self.db.execute("INSERT INTO drawn (number, program, same, family, signature, features) VALUES (?, ?, ?, ?, ?, ?)", row)

    def all_drawn(self) -> list[Drawn]:
        """In order. Raises Unreadable where the file is damaged."""
        try:
            rows = self.db.execute("SELECT number, program, same, family, signature, features, outcome FROM drawn ORDER BY number").fetchall()
            return [Drawn(n, Program.from_json(p), Keys(s, f, tuple(json.loads(m))), json.loads(x), o) for n, p, s, f, m, x, o in rows]
        except (ValueError, KeyError, TypeError, WarploomError, sqlite3.DatabaseError) as error:
            raise Unreadable(f"{self.folder / FILE} has a corrupted row: {str(error).splitlines()[0]}") from None

    def finish(self, number: int, outcome: str, result: str, seconds: float) -> None:
        """The result of a program, once: a second one is ignored."""
        with writing(self.folder), self.db:
            self.db.execute(
                "UPDATE drawn SET outcome = ?, result = ?, seconds = ? WHERE number = ? AND outcome IS NULL", (outcome, result, seconds, number)
            )

    def refuse(self, number: int, result: str) -> None:
        """Turns a pair into a rejection: another one of a lower number is equal to it."""
        with writing(self.folder), self.db:
            self.db.execute("UPDATE drawn SET outcome = 'reject', result = ? WHERE number = ? AND outcome = 'pair'", (result, number))

    def skip(self, why: str, times: int = 1) -> None:
        """Count proposals that were drawn again."""
        with writing(self.folder), self.db:
            self.db.execute("INSERT INTO skipped VALUES (?, ?) ON CONFLICT (why) DO UPDATE SET times = times + excluded.times", (why, times))

    def skipped(self) -> dict[str, int]:
        return dict(self.db.execute("SELECT why, times FROM skipped ORDER BY why").fetchall())

    def results(self, outcome: str) -> list[tuple[int, Keys, str]]:
        """(number, keys, result) of all programs with this outcome (pair, reject), in order."""
        query = "SELECT number, same, family, signature, result FROM drawn WHERE outcome = ? ORDER BY number"
        return [(n, Keys(s, f, tuple(json.loads(m))), r) for n, s, f, m, r in self.db.execute(query, (outcome,)).fetchall()]

    def result(self, number: int) -> str:
        """What became of a program that is finished."""
        return self.db.execute("SELECT result FROM drawn WHERE number = ?", (number,)).fetchone()[0]

    def count(self, outcome: str) -> int:
        return self.db.execute("SELECT count(*) FROM drawn WHERE outcome = ?", (outcome,)).fetchone()[0]

    def spells(self) -> int:
        """How many spells of work are noted."""
        return self.db.execute("SELECT count(*) FROM spell").fetchone()[0]

    def spent(self, spell: int, seconds: float, finished: int) -> None:
        """What the spell of this number has come to so far: one that is killed counts up to its last result."""
        with writing(self.folder), self.db:
            self.db.execute("INSERT OR REPLACE INTO spell VALUES (?, ?, ?)", (spell, seconds, finished))

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self.db.close()
        os.close(self._lock)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns what the disk answers into CannotWrite."""
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.DatabaseError, OSError) as error:
        if isinstance(error, sqlite3.IntegrityError):
            raise
        what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CannotWrite(f"cannot write {folder}: {what}") from None
