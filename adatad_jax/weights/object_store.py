"""Run folders on object stores (`gs://`, `s3://` and whatever fsspec reaches): a working copy on this machine.

A run writes into its working copy, which has locks and files that are replaced as a whole. A thread stores what has
changed at the address: the files of a checkpoint first, then the list that names it, so that a checkpoint at the
address counts only once it is whole.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adatad_jax.errors import UserError, one_line
from adatad_jax.training import checksums
from adatad_jax.training.checkpoints import CHECKPOINTS_FOLDER
from adatad_jax.weights.frozen import FROZEN_FOLDER
from adatad_jax.weights.run_folder import is_locked

LIST = "stored.json"  # at the address: the run's name, and folder -> file in it -> size and CRC-32
NAME = ".stored"  # in the working copy: the name of the run that it is of, once something is stored
LEFT_OUT = ("features",)  # of a run: large, and computed again where they are missing
PERIOD = 30.0  # seconds between two looks at what has changed
EXTRA = "pip install 'adatad-jax[stores]'"
_logger = logging.getLogger(__name__)

Files = dict[str, tuple[int, int]]
"""Path below a folder -> size in bytes, and CRC-32."""


def address_of(path: Path) -> str | None:
    """Returns the address that a path was made of, such as `gs://bucket/run`; None for a path of this machine."""
    if not path.parts or not path.parts[0].endswith(":") or len(path.parts[0]) < 3:  # "C:" is a drive
        return None
    scheme, rest = path.parts[0][:-1], "/".join(path.parts[1:])
    return f"{scheme}:///{rest}" if scheme == "file" else f"{scheme}://{rest}"


def scratch_folder(address: str) -> Path:
    """Returns where the working copy of an address lies: below `ADATAD_SCRATCH`, or else the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adatad-jax"
    name = f"{address.rstrip('/').rpartition('/')[2]}-{hashlib.sha256(address.encode()).hexdigest()[:12]}"
    return Path(os.environ.get("ADATAD_SCRATCH") or cache) / name


@contextmanager
def working_copy(path: Path, writes: bool = True) -> Iterator[Path]:
    """Yields the folder to work in for a path: itself, or the working copy of an address.

    A working copy in which a training is running is yielded as it is, and stored by that training alone.

    Args:
      path: a folder of this machine, or an address.
      writes: whether what is written in the block is stored at the address, every `PERIOD` seconds and at the end.

    Raises:
      UserError: the address cannot be reached, or what lies there is damaged.
    """
    address = address_of(path)
    if address is None:
        yield path
        return
    folder = scratch_folder(address)
    if is_locked(folder):  # files of that training must not be replaced by what is stored; it stores all that is here
        _logger.warning("%s: a training is running here in its working copy %s: used as it is", address, folder)
        yield folder
        return
    store = RunStore(address, folder)
    store.fetch()
    if not writes:
        yield store.folder
        return
    _logger.warning(
        "%s: the working copy is %s; an object store has no locks, so nothing keeps another machine out of this run",
        address,
        store.folder,
    )
    end = threading.Event()
    thread = threading.Thread(target=_store_until, args=(store, end), daemon=True)
    thread.start()
    try:
        yield store.folder
    except BaseException:  # the run's own error is what matters, but its last checkpoint must not stay behind
        _finish(thread, end)
        try:
            store.store()
        except UserError as error:
            _logger.warning("%s; the working copy %s has what is not stored", error, store.folder)
        raise
    _finish(thread, end)
    store.store()


def _finish(thread: threading.Thread, end: threading.Event) -> None:
    end.set()
    thread.join()


def _store_until(store: RunStore, end: threading.Event) -> None:
    while not end.wait(PERIOD):
        try:
            store.store()
        except UserError as error:
            _logger.warning("%s; tried again later", error)


class RunStore:
    """A run at an address and its working copy."""

    def __init__(self, address: str, folder: Path) -> None:
        """Connects to the store.

        Args:
          address: of the run.
          folder: the working copy, which need not exist.

        Raises:
          UserError: the address names no place in the store, or cannot be reached.
        """
        if not address.partition("://")[2].strip("/"):
            raise UserError(f"{address}: names no place in the store; expected an address such as gs://BUCKET/RUN")
        self.address, self.folder = address.rstrip("/"), folder
        with self._reached():
            from fsspec.core import url_to_fs  # slow, and rarely needed

            options = {"auto_mkdir": True} if self.address.startswith("file:") else {}
            self._system, self._root = url_to_fs(self.address, **options)
        self._sent: dict[str, tuple[int, int]] = {}  # path -> size and time of the file as it was stored
        self._checksums: dict[str, tuple[int, int, int]] = {}  # path -> size, time, and CRC-32
        self._listed: dict[str, Files] = {}
        self._run = secrets.token_hex(8)

    def fetch(self) -> None:
        """Brings the working copy to what is stored, unless it has a later checkpoint, which a killed run left there.

        The working copy of another run, which was at this address before, is set aside.

        Raises:
          UserError: the address cannot be reached, or a file there is not what was stored.
        """
        with self._reached():
            self._system.invalidate_cache()
            found = {path[len(self._root) :].lstrip("/") for path in self._system.find(self._root)}
            stored = LIST in found
            if stored:
                self._run, self._listed = self._read_list()
        name = self.folder / NAME
        own = name.read_text() if name.is_file() else None
        if own != (self._run if stored else None) and (own or self._folders()):
            self._set_aside()
        if _latest(self._folders()) > _latest(self._listed):
            _logger.warning("%s: %s has a later checkpoint, which is stored", self.address, self.folder)
            return
        for gone in self._folders().keys() - self._listed.keys() if self._listed else ():
            shutil.rmtree(self.folder / gone)
        wanted = {f"{name}/{path}": facts for name, files in self._listed.items() for path, facts in files.items()}
        loose = {path for path in found - {LIST} if not (self._listed and _is_grouped(path))}
        for path in sorted(loose | wanted.keys()):
            facts, local = wanted.get(path), self.folder / path
            if facts is None or not local.is_file() or self._facts(path) != facts:
                self._fetch_file(path, facts)
            self._sent[path] = _stamp(local)
        if stored:
            name.write_text(self._run)

    def store(self) -> None:
        """Stores what has changed.

        Raises:
          UserError: the address cannot be reached.
        """
        folders, loose = self._folders(), self._loose()
        with self._reached():
            for path in loose:  # first: a checkpoint needs its configuration
                self._store_file(path)
            stored = {name: self._store_folder(name, paths) for name, paths in folders.items()}
            listed = {name: files for name, files in stored.items() if files is not None}
            if listed != self._listed:
                content = json.dumps({"run": self._run, "folders": listed})
                self._system.pipe_file(f"{self._root}/{LIST}", content.encode())
                (self.folder / NAME).write_text(self._run)
            gone = self._listed.keys() - listed.keys()
            self._listed = listed  # once it is written: what fails before is done again
            for name in gone:
                self._system.rm(f"{self._root}/{name}", recursive=True)

    def _store_folder(self, name: str, paths: list[str]) -> Files | None:
        """Stores the files of a checkpoint; returns None if it goes away meanwhile."""
        try:
            for path in paths:
                self._store_file(f"{name}/{path}")
            return {path: self._facts(f"{name}/{path}") for path in paths}
        except FileNotFoundError:
            return None

    def _store_file(self, path: str) -> None:
        local = self.folder / path
        stamp = _stamp(local)
        if self._sent.get(path) != stamp:
            self._system.put_file(str(local), f"{self._root}/{path}")
            self._sent[path] = stamp

    def _fetch_file(self, path: str, facts: tuple[int, int] | None) -> None:
        local = self.folder / path
        partial = local.with_name(f".{local.name}.partial")
        try:
            local.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{local}: cannot be written ({error.strerror}); set ADATAD_SCRATCH to a folder") from error
        with self._reached():
            self._system.get_file(f"{self._root}/{path}", str(partial))
        if facts is not None and (partial.stat().st_size, checksums.of_file(partial)) != facts:
            partial.unlink()
            raise UserError(f"{self.address}/{path}: not what was stored there (size or CRC-32): damaged")
        partial.replace(local)

    def _facts(self, path: str) -> tuple[int, int]:
        """Returns size and CRC-32 of a file of the working copy, computed once per version of the file."""
        local = self.folder / path
        size, time = _stamp(local)
        known = self._checksums.get(path)
        if known is None or known[:2] != (size, time):
            known = self._checksums[path] = size, time, checksums.of_file(local)
        return size, known[2]

    def _folders(self) -> dict[str, list[str]]:
        """Returns the finished checkpoints of the working copy and its frozen parameters, with their files."""
        folders = [path for path in (self.folder / CHECKPOINTS_FOLDER).glob("*") if path.name.isdecimal()]
        frozen = self.folder / FROZEN_FOLDER
        return {
            folder.relative_to(self.folder).as_posix(): [
                path.relative_to(folder).as_posix() for path in _files_below(folder)
            ]
            for folder in (*folders, *([frozen] if frozen.is_dir() else []))
        }

    def _loose(self) -> list[str]:
        """Returns all other files that are stored; a name with a dot in front is a lock, or not finished."""
        paths = [path.relative_to(self.folder) for path in _files_below(self.folder)]
        return [
            path.as_posix()
            for path in paths
            if not _is_grouped(path.as_posix())
            and path.parts[0] not in LEFT_OUT
            and not any(part.startswith(".") for part in path.parts)
        ]

    def _set_aside(self) -> None:
        """Renames a working copy that belongs to another run."""
        names = (self.folder.with_name(f"{self.folder.name}.{number}") for number in itertools.count(1))
        aside = next(path for path in names if not path.exists())
        self.folder.rename(aside)
        _logger.warning("%s: another run was there before; its working copy is now %s", self.address, aside)

    def _read_list(self) -> tuple[str, dict[str, Files]]:
        try:
            content = json.loads(self._system.cat_file(f"{self._root}/{LIST}"))
            return str(content["run"]), {
                name: {path: (int(size), int(crc)) for path, (size, crc) in files.items()}
                for name, files in content["folders"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{self.address}/{LIST}: damaged ({error})") from error

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turns the exceptions of a store, which are of many types, into `UserError`."""
        try:
            yield
        except UserError:
            raise
        except ImportError as error:
            raise UserError(f"{self.address}: a package for this store is missing ({error}): {EXTRA}") from error
        except Exception as error:
            raise UserError(
                f"{self.address}: cannot be reached ({type(error).__name__}: {one_line(error)}); check the address and "
                "the credentials"
            ) from error


def _files_below(folder: Path) -> list[Path]:
    """Lists the files below a folder, sorted; folders may go away meanwhile, which `Path.rglob` does not bear."""
    paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sorted(path for path in paths if path.is_file())


def _is_grouped(path: str) -> bool:
    """Tells whether a file is part of a checkpoint or of the frozen parameters, which are stored whole."""
    return path.split("/")[0] in (CHECKPOINTS_FOLDER, FROZEN_FOLDER)


def _latest(folders: Any) -> int:
    """Returns the step of the latest checkpoint among folders; -1 if there is none."""
    return max((int(name.rpartition("/")[2]) for name in folders if name != FROZEN_FOLDER), default=-1)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
