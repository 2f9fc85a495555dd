"""The record of a run, `run.json`: with what each start computed, from which step, and how it ended."""

import contextlib
import functools
import importlib.metadata
import json
import logging
import os
import platform
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import jax

from adatad_jax.errors import UserError, one_line
from adatad_jax.files import write_text
from adatad_jax.training.leaving import Leaving
from adatad_jax.training.meter import Meter
from adatad_jax.training.step_log import last_step

RUN_FILE = "run.json"
FORMAT = 1
PACKAGES = ("adatad-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
FINISHED, LEFT, ERROR, KILLED = "finished", "left as asked", "error", "killed"
MESSAGE_LENGTH = 2000
_GIT_SECONDS = 20.0
_logger = logging.getLogger(__name__)


def facts_of(devices: Sequence[jax.Device], seed: int, data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a start computes with, as JSON values.

    Args:
      devices: that share a batch.
      seed: of all random numbers.
      data: what tells the training data from other data.
    """
    first = devices[0]
    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "devices": {"platform": first.platform, "kind": first.device_kind, "count": len(devices)},
        "processes": jax.process_count(),
        "code": code_state(Path(__file__).parents[1]),
        "command": list(sys.orig_argv),
        "seed": seed,
        "data": dict(data),
    }


def code_state(folder: Path) -> dict[str, Any] | None:
    """Returns the commit of the repository that a folder of code is part of, and whether tracked files were changed.

    Returns:
      `commit` and `dirty`; None outside a repository, in one that does not track the folder (an environment inside
      another project), and where git is missing.
    """

    def git(*arguments: str) -> str:
        environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=_GIT_SECONDS,
            env=environment,
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        commit, changed = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": bool(changed)}


class RunRecord(NamedTuple):
    """The record of a run as a new start finds it.

    Attributes:
      identity: an id of the run, the same for all its starts.
      starts: the first one first.
      reached: number of the last step that is known to have been taken.
    """

    identity: str
    starts: list[dict[str, Any]]
    reached: int


@contextlib.contextmanager
def recorded(
    workdir: Path, record: RunRecord, facts: Mapping[str, Any], meter: Meter, leaving: Leaving | None = None
) -> Iterator[None]:
    """Adds a start to a run's record, and writes how it ended when the block ends.

    A start has finished if all steps are taken; else it was left as asked, or ended by an error. If the start before
    has no end, it was killed, and the record says so now.

    Args:
      workdir: the run's folder, which exists.
      record: of the run before this start.
      facts: of this start, as from `facts_of`.
      meter: knows the steps taken.
      leaving: may end the process inside the block.

    Raises:
      UserError: the record cannot be written at the start.
    """
    identity, starts, reached = record
    if starts and starts[-1]["end"] is None:
        starts[-1]["end"] = {"how": KILLED, "step": max(starts[-1]["step"], reached)}
    started = {"when": _now(), "step": meter.step, **facts, "end": None}
    starts = [*starts, started]
    _write(workdir, identity, starts)

    def note(end: Mapping[str, Any]) -> None:
        started["end"] = {**end, "step": meter.step, "when": _now()}
        _write(workdir, identity, starts)

    if leaving is not None:
        leaving.farewell = functools.partial(note, {"how": LEFT})
    end: dict[str, Any] = {}
    try:
        yield
        end = {"how": FINISHED if meter.step >= meter.total else LEFT}  # above: fewer epochs than are done
    except (KeyboardInterrupt, SystemExit):
        end = {"how": LEFT}
        raise
    except BaseException as error:
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        end = {"how": ERROR, "message": f"{kind}{one_line(error, MESSAGE_LENGTH)}"}  # type: ignore[arg-type]
        raise
    finally:
        if leaving is not None:
            leaving.farewell = None
        try:
            note(end)
        except UserError as error:  # must not hide how the run ended
            _logger.warning("%s", error)


def read_record(workdir: Path) -> RunRecord:
    """Reads the record of a run; where the folder has none, it has a new id and no start.

    A record that is damaged, or of a newer version, is put aside, with a warning.
    """
    path, reached = workdir / RUN_FILE, last_step(workdir)
    fresh = RunRecord(secrets.token_hex(4), [], reached)
    if not path.exists():
        return fresh
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if int(content["format"]) > FORMAT:
            raise ValueError(f"format {content['format']}, of a newer version of adatad_jax")
        starts = [{**start, "step": int(start["step"]), "end": start["end"]} for start in content["starts"]]
        return RunRecord(str(content["id"]), starts, reached)
    except (ValueError, KeyError, TypeError) as error:
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        _logger.warning("%s: cannot be read (%s): put aside as %s, and begun anew", path, one_line(error), aside.name)
        return fresh


def _write(workdir: Path, identity: str, starts: Sequence[Mapping[str, Any]]) -> None:
    content = {"format": FORMAT, "id": identity, "starts": starts}
    write_text(workdir / RUN_FILE, json.dumps(content, indent=1) + "\n")


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _versions() -> dict[str, str]:
    """Returns package -> version, of those that are installed as packages."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
