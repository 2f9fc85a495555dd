"""Files that are there whole or not at all, written by libraries that want a path."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from adatad_jax.errors import UserError
from adatad_jax.files import partial_path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to, which takes its name at the end; on failure nothing is left of it.

    Raises:
      UserError: an OSError was raised inside: it cannot be written.
    """
    partial = partial_path(path)
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path}: cannot be written ({reason}); make room, or choose another folder") from error
    finally:
        with suppress(OSError):  # it has its name by now, or one that is too long
            partial.unlink()
