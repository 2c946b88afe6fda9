"""The memory of a run in one SQLite file: results come in as they are made, and go out again on `--resume` and `--replay`.

The search is a function of its seed and of what it is told (measurements, verdicts, answers of a model). What it was told is kept here, each
telling in one transaction, so that a killed run is repeated up to the last telling without doing anything twice.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ...ir.diagnostic import Unreadable, WarploomError

FILE = "state.sqlite"
RECORD = "warploom evolve run"
ASKED = ("machine", "knowledge", "measured", "verdict", "confirmed", "decision", "batch", "contest", "answer", "arrival", "counters")
"""What a run asks for: a replay needs nothing else."""
SMALL = "small"
"""Kernel and script -> what was wrong with it on small data, or nothing."""
FOUND = "found"
"""Program key -> the strategy in general form that was written back, and its ratio."""
_TABLES = """
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS told (kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (kind, key));
CREATE TABLE IF NOT EXISTS spell (number INTEGER PRIMARY KEY, seconds REAL NOT NULL);
"""

Json = dict[str, object]


class OtherRun(WarploomError):
    """The folder holds a run of another problem, seed or proposer. Give another --out, or the arguments of that run."""

    code = "WL-E101"


class NotRecorded(WarploomError):
    """A replay asks for something that the recorded run was never told. Replay with the arguments of that run."""

    code = "WL-E102"


class State:
    """`replay`: another run's folder, or its record (`write_record`), whose tellings are used instead of new ones. `clock` is monotonic, in
    seconds; `reading`: nothing is added; `began`: when, by the clock, this spell began."""

    def __init__(self, out: Path, replay: Path | None = None, clock: Callable[[], float] = time.monotonic, reading: bool = False, began: float | None = None):
        self.out, self.clock = out, clock
        self.db = _opened(out / FILE, make=not reading)
        self.source = _source(replay) if replay else None
        with self.db:
            self.before = self.db.execute("SELECT coalesce(sum(seconds), 0) FROM spell").fetchone()[0]
            self.spell = 0 if reading else self.db.execute("INSERT INTO spell (seconds) VALUES (0)").lastrowid
        self.started = clock() if began is None else began

    @contextlib.contextmanager
    def beating(self, every: float = 1.0) -> Iterator[None]:
        """Keeps the time of this spell every so many seconds: where it is killed, it counts to its last one."""
        done = threading.Event()

        def beat() -> None:
            db = _opened(self.out / FILE, make=False)
            while not done.wait(every):
                with contextlib.suppress(sqlite3.OperationalError), db:  # busy: the next beat will do
                    db.execute("UPDATE spell SET seconds = ? WHERE number = ?", (self.clock() - self.started, self.spell))
            db.close()

        thread = threading.Thread(target=beat, name="heart", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    @property
    def replaying(self) -> bool:
        return self.source is not None

    @property
    def seconds(self) -> float:
        """Time of this run, spells before an interruption included."""
        return self.before + self.clock() - self.started

    # ---- settings ----
    def agree(self, settings: Mapping[str, str], resume: bool) -> None:
        """Keep what identifies the run; with `resume` it must be what the folder has. Raises OtherRun."""
        known = dict(self.db.execute("SELECT name, value FROM setting").fetchall())
        for name, value in settings.items():
            if known and resume and known.get(name) != value:
                raise OtherRun(f"{self.out} holds a run with {name}={known.get(name)!r}, not {value!r}")
        if known and not resume:
            raise OtherRun(f"{self.out} holds a run already", hint="give --resume, or another --out")
        with self.db:
            self.db.executemany("INSERT OR REPLACE INTO setting VALUES (?, ?)", list(settings.items()))

    def settings(self) -> dict[str, str]:
        return dict(self.db.execute("SELECT name, value FROM setting").fetchall())

    # ---- tellings ----
    def recall(self, kind: str, key: str) -> Json | None:
        """What was told, in this run or in the one that is replayed."""
        for db in (self.db, self.source):
            row = db.execute("SELECT value FROM told WHERE kind = ? AND key = ?", (kind, key)).fetchone() if db else None
            if row:
                return json.loads(row[0])
        return None

    def tell(self, kind: str, values: Mapping[str, Json]) -> None:
        """Keep tellings of one kind, all or none, with the time spent so far."""
        now = self.seconds
        rows = [(kind, key, json.dumps(value), now) for key, value in values.items()]
        with self.db:
            self.db.executemany("INSERT OR IGNORE INTO told VALUES (?, ?, ?, ?)", rows)
            self.db.execute("UPDATE spell SET seconds = ? WHERE number = ?", (self.clock() - self.started, self.spell))

    def told(self, kind: str) -> list[tuple[str, Json, float]]:
        """(key, value, seconds into the run) of all tellings of a kind, in order."""
        rows = self.db.execute("SELECT key, value, at FROM told WHERE kind = ? ORDER BY rowid", (kind,)).fetchall()
        return [(key, json.loads(value), at) for key, value, at in rows]

    def ask(self, kind: str, keys: Sequence[str], make: Callable[[Sequence[str]], Mapping[str, Json]]) -> dict[str, Json]:
        """What is known of the keys; the rest is made, and told in one transaction. Raises NotRecorded in a replay."""
        found = {key: value for key in keys if (value := self.recall(kind, key)) is not None}
        missing = [key for key in keys if key not in found]
        if missing and self.replaying:
            raise NotRecorded(f"the recorded run has no {kind} of {missing[0]}")
        made = make(missing) if missing else {}
        self.tell(kind, {**found, **made})
        return {**found, **made}

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self.tell("closed", {})
            self.db.close()


def write_record(folder: Path, out: Path) -> None:
    """What a run was told, as one JSON file that `State(replay=...)` takes: times, verdicts and answers, no programs. Raises Unreadable."""
    db = _opened(folder / FILE, make=False)
    kinds = (*ASKED, FOUND)
    rows = db.execute(f"SELECT kind, key, value FROM told WHERE kind IN ({','.join('?' * len(kinds))}) ORDER BY rowid", kinds).fetchall()
    settings = dict(db.execute("SELECT name, value FROM setting").fetchall())
    db.close()
    told = [[kind, key, json.loads(value)] for kind, key, value in rows]
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in told)
    out.write_text(f'{{"format": "{RECORD}", "settings": {json.dumps(settings)}, "told": [\n{lines}\n]}}\n', encoding="utf-8")


def read_record(path: Path) -> tuple[dict[str, str], list[tuple[str, str, Json]]]:
    """(settings, tellings in order) of a record. Raises Unreadable."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["format"] != RECORD:
            raise ValueError("another format")
        return dict(value["settings"]), [(str(kind), str(key), dict(told)) for kind, key, told in value["told"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Unreadable(f"{path} is no record of an evolve run: {error}") from None


def _source(path: Path) -> sqlite3.Connection:
    """The tellings of a folder or of a record."""
    if path.suffix != ".json":
        return _opened(path / FILE, make=False)
    settings, told = read_record(path)
    db = sqlite3.connect(":memory:")
    db.executescript(_TABLES)
    db.executemany("INSERT INTO setting VALUES (?, ?)", list(settings.items()))
    db.executemany("INSERT INTO told VALUES (?, ?, ?, 0)", [(kind, key, json.dumps(value)) for kind, key, value in told])
    return db


def _opened(path: Path, make: bool) -> sqlite3.Connection:
    if not make and not path.is_file():
        raise Unreadable(f"{path} is not a file", hint="give the folder of an evolve run")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(_TABLES)
    except (sqlite3.Error, OSError) as error:
        raise Unreadable(f"{path} cannot be used as a run's state: {error}") from None
    return db
