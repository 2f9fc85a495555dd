"""Compiled programs that outlive the process: a start compiles what no start before it has compiled."""

import gc
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
from filelock import FileLock, Timeout

from adatad_jax.errors import one_line

OFF = "off"
LARGEST = 4 * 2**30  # bytes of the folder; what was not used for longest goes first
LEAST_SECONDS = 0.1  # a program that compiles faster is not kept
_VARIABLES = {
    "jax_compilation_cache_max_size": LARGEST,
    "jax_persistent_cache_min_compile_time_secs": LEAST_SECONDS,
}
# JAX's own names: of its lock, of a program's file, and of the file beside it that says when it was last used.
_LOCK, _PROGRAM, _USED = ".lockfile", "-cache", "-atime"
_STORES = ("gs://", "s3://")
_PATIENCE = 2.0  # seconds for which another process may hold the lock
_logger = logging.getLogger(__name__)


def keep_compiled(place: str = "") -> str | None:
    """Makes JAX keep what it compiles in a folder, and take from there what another process has compiled.

    A program is found by its operations, shapes, compiler options, versions, and kind of device; of a CPU by its
    instructions too. So another machine, another version or a change of the code finds nothing wrong there. Of the
    processes of a run, all read, and the first one writes.

    JAX's own variables count: `JAX_COMPILATION_CACHE_DIR` names the folder where `place` is empty. One of an object
    store, `gs://...`, is left to JAX, which does not limit its size.

    Args:
      place: the folder; empty: that of JAX's variable, else `compiled` in the user's cache folder; `off`: none.

    Returns:
      The folder; None where nothing is kept: it is switched off, or the folder cannot be written, and then a warning
      says so.
    """
    if place == OFF or not jax.config.jax_enable_compilation_cache:  # type: ignore[attr-defined]
        jax.config.update("jax_enable_compilation_cache", False)
        return None
    given: str = place or jax.config.jax_compilation_cache_dir or ""  # type: ignore[attr-defined]
    if given.startswith(_STORES):
        jax.config.update("jax_compilation_cache_dir", given)
        return given
    try:
        folder = Path(given).expanduser().absolute() if given else _own_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # what lies there is run: it is nobody else's to write
        _remove_unfinished(folder)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home; NotImplementedError: there are no locks
        _logger.warning(
            "%s: compiled programs cannot be kept there (%s), so that every start compiles them; name another folder, "
            "--config.compilation_cache=DIR, or none, %s",
            given or "the user's cache folder",
            one_line(error),
            OFF,
        )
        jax.config.update("jax_enable_compilation_cache", False)
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    for name, value in _VARIABLES.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)
    return str(folder)


def _own_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adatad-jax" / "compiled"


def collect_less() -> None:
    """Makes Python look for reference cycles less often, and never again among what is imported by now."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@contextmanager
def uncollected() -> Iterator[None]:
    """Looks for no reference cycles in the block, which traces: that makes a million objects, and hardly a cycle."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _remove_unfinished(folder: Path) -> None:
    """Removes programs that a killed process was writing; JAX would fail to read them, and to make room, ever after.

    Raises:
      OSError: the folder cannot be written, or its file system has no locks.
    """
    try:
        with FileLock(folder / _LOCK, timeout=_PATIENCE):
            for program in folder.glob(f"*{_PROGRAM}"):
                if not program.with_name(program.name.removesuffix(_PROGRAM) + _USED).exists():
                    program.unlink()
    except Timeout:  # another process reads or writes there, so that the folder is in order
        pass
