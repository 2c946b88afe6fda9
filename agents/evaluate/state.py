"""A run folder's memory: one SQLite file. Each answer, verdict and failed request is committed together with the state it advances.

What is committed is never asked or judged again: `kill -9` at any moment loses at most the requests under way.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...ir.diagnostic import WarploomError

FORMAT = 1
_TABLES = """
create table if not exists meta (key text primary key, value text not null);
create table if not exists audit (id text primary key, value text not null);
create table if not exists probe (id text primary key, value text not null);
create table if not exists exchange (model text, id text, sample integer, round integer, purpose text, prompt text, answer text,
  tokens_in integer, tokens_out integer, cost real, seconds real, note text, primary key (model, id, sample, round));
create table if not exists outcome (model text, id text, sample integer, round integer, code text, value text,
  primary key (model, id, sample, round));
create table if not exists failure (n integer primary key, model text, id text, sample integer, round integer, error text,
  tokens integer, cost real, at real);
"""


class BadRunFolder(WarploomError):
    """The run folder cannot take this run: it holds another one, or is in use. The message says what to do."""

    code = "WL-E091"


@dataclass(frozen=True)
class Key:
    """One request: a model's sample of a record in a round (0 the first answer, then repairs)."""

    model: str
    id: str
    sample: int
    round: int = 0


@dataclass(frozen=True)
class Exchange:
    """What was asked and answered; `cost` in USD, None where the price is not known."""

    purpose: str
    prompt: str
    answer: str
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float | None = 0.0
    seconds: float = 0.0
    note: str = ""


class State:
    """Opens or makes `folder/state.sqlite`. Safe to use from several threads. Raises `BadRunFolder`."""

    def __init__(self, folder: Path, settings: dict, resume: bool):
        self.folder = folder
        file = folder / "state.sqlite"
        with _explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if file.exists() and not resume:
                raise BadRunFolder(f"{folder} already holds a run", hint="continue it with --resume, or name another folder")
            self._claim = _claimed(folder)
            self._lock = threading.Lock()
            self._db = sqlite3.connect(file, check_same_thread=False, timeout=30)
            self._db.execute("pragma journal_mode=wal")
            self._db.execute("pragma synchronous=full")
            with self._db:
                self._db.executescript(_TABLES)
        self._agree({"format": FORMAT, **settings})

    def close(self) -> None:
        """Closes the file and lets others have the folder."""
        self._db.close()
        os.close(self._claim)

    # ---- settings ----
    def _agree(self, settings: dict) -> None:
        kept = self.settings()
        for key, value in settings.items():
            if key in kept and kept[key] != value:
                raise BadRunFolder(f"{self.folder} holds a run with {key} = {kept[key]!r}, not {value!r}", hint="use another folder")
        with self._lock, self._db:
            self._db.executemany(
                "insert or ignore into meta values (?, ?)", [(k, json.dumps(v)) for k, v in settings.items()]
            )

    def settings(self) -> dict:
        """What the run was started with."""
        return {k: json.loads(v) for k, v in self._rows("select key, value from meta")}

    def note(self, key: str, value) -> None:
        """Keeps a fact about the run (its machine, its models)."""
        self._write("insert or replace into meta values (?, ?)", (key, json.dumps(value)))

    # ---- audits ----
    def audits(self) -> dict[str, dict]:
        """Audit results by record."""
        return {k: json.loads(v) for k, v in self._rows("select id, value from audit")}

    def keep_audit(self, id_: str, value: dict) -> None:
        """Commits one audit result."""
        self._write("insert or replace into audit values (?, ?)", (id_, json.dumps(value)))

    def probes(self) -> dict[str, list[dict]]:
        """By record, how deliberately wrong answers were judged."""
        return {k: json.loads(v) for k, v in self._rows("select id, value from probe")}

    def keep_probe(self, id_: str, rows: list[dict]) -> None:
        """Commits what was seen of one record."""
        self._write("insert or replace into probe values (?, ?)", (id_, json.dumps(rows)))

    # ---- answers and verdicts ----
    def exchanges(self) -> dict[Key, Exchange]:
        """Every answer received."""
        rows = self._rows(
            "select model, id, sample, round, purpose, prompt, answer, tokens_in, tokens_out, cost, seconds, note from exchange"
        )
        return {Key(*row[:4]): Exchange(*row[4:]) for row in rows}

    def keep_exchange(self, key: Key, e: Exchange) -> None:
        """Commits an answer. It was paid for: this comes before anything else is done with it."""
        values = (e.purpose, e.prompt, e.answer, e.tokens_in, e.tokens_out, e.cost, e.seconds, e.note)
        self._write(
            "insert into exchange values (?,?,?,?,?,?,?,?,?,?,?,?)", (key.model, key.id, key.sample, key.round, *values)
        )

    def outcomes(self) -> dict[Key, dict]:
        """Every verdict."""
        rows = self._rows("select model, id, sample, round, value from outcome")
        return {Key(*row[:4]): json.loads(row[4]) for row in rows}

    def keep_outcome(self, key: Key, value: dict) -> None:
        """Commits a verdict."""
        self._write(
            "insert or replace into outcome values (?,?,?,?,?,?)",
            (key.model, key.id, key.sample, key.round, value["verdict"], json.dumps(value)),
        )

    def keep_failure(self, key: Key, error: str, tokens: int, cost: float) -> None:
        """Commits a request that gave no answer; `tokens` and `cost` are what it may have been charged."""
        self._write(
            "insert into failure (model, id, sample, round, error, tokens, cost, at) values (?,?,?,?,?,?,?,?)",
            (key.model, key.id, key.sample, key.round, error[:1000], tokens, cost, time.time()),
        )

    def failures(self) -> list[tuple[str, str]]:
        """(model, error) of every failed request."""
        return self._rows("select model, error from failure order by n")

    def spent(self) -> tuple[int, float]:
        """Tokens and USD of all answers, and of failed requests that may have been charged."""
        (tokens, cost), = self._rows("select coalesce(sum(tokens_in + tokens_out), 0), coalesce(sum(cost), 0) from exchange")
        (lost, gone), = self._rows("select coalesce(sum(tokens), 0), coalesce(sum(cost), 0) from failure")
        return int(tokens + lost), float(cost + gone)

    def _rows(self, query: str) -> list:
        with self._lock:
            return self._db.execute(query).fetchall()

    def _write(self, query: str, values: tuple) -> None:
        with _explained(self.folder), self._lock, self._db:
            self._db.execute(query, values)


def read_state(folder: Path) -> State:
    """The state of an existing run, for a report. Raises `BadRunFolder`."""
    if not (folder / "state.sqlite").is_file():
        raise BadRunFolder(f"{folder} holds no run", hint="a folder made by `warploom eval ... --out DIR`")
    return State(folder, {}, resume=True)


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise BadRunFolder(f"{folder}/state.sqlite: {error}") from None
    except OSError as error:
        raise BadRunFolder(f"{folder}: {error.strerror}") from None


def _claimed(folder: Path) -> int:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise BadRunFolder(f"{folder} is in use by another run") from None
    return fd
