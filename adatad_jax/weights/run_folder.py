"""A run's folder: its configuration and class list, compared with those of a command, and its lock."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from adatad_jax.config.fields import Config
from adatad_jax.errors import UserError
from adatad_jax.files import check_output_folder, lock_held, write_text
from adatad_jax.training.checkpoints import CHECKPOINTS_FOLDER

CONFIG_FILE = "config.json"
LOCK_FILE = ".lock"
FORMAT = 2  # of run folders; 1: checkpoints hold frozen parameters, too


# Fields that may change when a run is continued: they do not touch what is learned.
FREE_FIELDS = {
    "published",
    "weights",
    "weights_from",
    "data.videos",
    "data.video_prefix",
    "data.annotations",
    "data.classes",
    "data.come_from",
    "data.rate",  # detect alone uses it
    "data.in_memory",
    "data.threads",
    "data.time_limit",
    "data.skip_broken",  # the training videos are compared themselves
    "data.cache",
    "train.epochs",  # the schedule is laid out over schedule_epochs
    "train.checkpoint_every",
    "train.checkpoint_steps",
    "train.keep_checkpoints",
    "train.eval_from",
    "train.eval_every",
}


def check_config(workdir: Path, config: Config, classes: tuple[str, ...] | None = None) -> None:
    """Compares the configuration with the one the folder's run was started with; see `write_config`.

    Args:
      workdir: the folder, which may be new.
      config: of this command.
      classes: the class list of this command, if it has one of its own.

    Raises:
      UserError: they differ in a field that changes what is learned or measured (all are listed), or in the class
        list; or the folder holds checkpoints without a configuration.
    """
    check_output_folder(workdir, checkpoints=True)
    path, saved = workdir / CONFIG_FILE, workdir / CHECKPOINTS_FOLDER
    if saved.exists() and not (saved.is_dir() and path.exists()):
        raise UserError(
            f"{workdir}: {CHECKPOINTS_FOLDER} is there, but not as a run leaves it (a folder beside {CONFIG_FILE}); "
            "give another --workdir"
        )
    if not path.exists():
        return
    (fields, names), now = read_config(workdir), _plain(config)
    before = {**_plain(Config()), **fields}  # an older run lacks fields that have come since
    if classes is not None and classes != names:
        raise UserError(
            f"{workdir}: the run was trained on the classes {', '.join(names)}, in this order; the class list is now "
            f"{', '.join(classes)}: give the same list, or another --workdir"
        )
    different = [
        f"{field}: the run has {before.get(field)!r}, the configuration now {now.get(field)!r}"
        for field in sorted(before.keys() | now.keys())
        if before.get(field) != now.get(field) and field not in FREE_FIELDS and not field.startswith("test.")
    ]
    if different:
        raise UserError(
            f"{workdir}: this folder holds a run of another configuration; give another --workdir, or the same values:"
            "\n  " + "\n  ".join(different)
        )


def _plain(config: Config) -> dict[str, Any]:
    """The fields of a configuration as a file gives them back."""
    result: dict[str, Any] = json.loads(json.dumps(config.flat()))
    return result


def write_config(workdir: Path, config: Config, classes: tuple[str, ...]) -> None:
    """Writes the configuration and the class list that a run is about to use, into a folder that exists (`lock`)."""
    content = {"format": FORMAT, "config": config.flat(), "classes": list(classes)}
    write_text(workdir / CONFIG_FILE, json.dumps(content, indent=1) + "\n")


def read_config(workdir: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Field -> value as JSON has them, and the class list, of the run in a folder.

    Raises:
      UserError: there is no run in it.
    """
    path = workdir / CONFIG_FILE
    if not path.is_file():
        raise UserError(f"{workdir}: no run here ({CONFIG_FILE} is missing): give the --workdir that was trained in")
    try:
        content = json.loads(path.read_text())
        found = int(content.get("format", 1))
        fields, classes = content["config"], tuple(content["classes"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: damaged: expected JSON with config and classes ({error})") from error
    if found > FORMAT:
        raise UserError(
            f"{path}: format {found}, written by a newer version of adatad_jax; this version reads formats 1 to "
            f"{FORMAT}: update adatad_jax"
        )
    return fields, classes


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Makes the folder and holds it for one training, until the block or the process ends.

    Raises:
      UserError: another process trains in the folder, or it cannot be written.
    """
    with ExitStack() as stack:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            ours = stack.enter_context(lock_held(workdir / LOCK_FILE))
        except OSError as error:
            raise UserError(f"{workdir}: cannot be written ({error.strerror}); choose another --workdir") from error
        if not ours:
            raise UserError(f"{workdir}: another training is running in this folder; give another --workdir")
        yield
