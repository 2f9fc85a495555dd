"""A run's folder: its configuration and class list, their comparison with a command's, and its lock."""

import dataclasses
import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from adatad_jax.config.fields import Config
from adatad_jax.config.run_fields import DistributedConfig, RunConfig
from adatad_jax.errors import UserError
from adatad_jax.files import check_output_folder, lock_held, write_text
from adatad_jax.training.checkpoints import CHECKPOINTS_FOLDER
from adatad_jax.video.spelling import normal

CONFIG_FILE = "config.json"
LOCK_FILE = ".lock"
FORMAT = 2  # version of the run folder's format; in format 1, checkpoints also hold the frozen parameters


# How the work fits a device: rounding alone depends on it.
MEMORY_FIELDS = ("model.memory", "model.remat", "model.attention_chunks", "model.mlp_chunks")
# Fields that may change whenever a run is continued, because they do not affect what is learned.
FREE_FIELDS = {
    *MEMORY_FIELDS,
    "published",
    "weights",
    "weights_step",
    "weights_from",
    "compilation_cache",
    "data.videos",
    "data.video_prefix",
    "data.annotations",
    "data.labels",
    "data.classes",
    "data.come_from",
    "data.rate",  # only detect uses it
    "data.in_memory",
    "data.threads",
    "data.time_limit",
    "data.reader",
    "data.retries",
    "data.skip_broken",  # the training videos themselves are compared
    "data.cache",
    "train.accumulate",
    "train.cache_features",
    "train.epochs",  # the schedule depends on schedule_epochs instead
    "train.checkpoint_every",
    "train.checkpoint_steps",
    "train.checkpoint_minutes",
    "train.keep_checkpoints",
    "train.keep_evaluated",
    "train.failed_saves",
    "train.grace",
    "train.skip_bad_steps",  # without effect on steps that are finite
    "train.eval_from",
    "train.eval_every",
    "train.log_steps",
    "train.wandb",
    "train.profile_steps",
    "train.resume_with_changes",
}
# Fields that never change in a run, and why; `train.resume_with_changes` permits a change of all others.
FIXED_FIELDS = {
    **dict.fromkeys(
        (
            "model.size",
            "model.adaptation",
            "model.tia_blocks",
            "model.tia_ratio",
            "model.width",
            "model.embed",
            "model.stem",
            "model.branch",
            "model.head_convs",
        ),
        "the parameters would have another structure",
    ),
    **dict.fromkeys(
        (
            "model.image_size",
            "model.norm_eps",
            "model.heads",
            "model.attention_windows",
            "model.absolute_positions",
        ),
        "the same parameters would compute something else",
    ),
    "data.class_agnostic": "the classes would be others",
    "train.normalizer_start": "it acts on the first step alone",
    "seed": "it gives a run its first parameters",
}


class Difference(NamedTuple):
    """A field of a configuration with two values, as JSON holds them."""

    field: str
    before: Any
    now: Any

    @property
    def is_free(self) -> bool:
        """Tells whether the field may change whenever a run is continued."""
        return self.field in FREE_FIELDS or self.field.startswith("test.")

    def __str__(self) -> str:
        return f"{self.field}: the run has {self.before!r}, the configuration now {self.now!r}"


def check_config(workdir: Path, config: RunConfig) -> None:
    """Checks that a command's configuration is that of the folder's run (`write_config`), where it matters.

    Args:
      workdir: the folder, which need not exist.
      config: of the command.

    Raises:
      UserError: the two differ in a field that changes what is learned or measured (all are listed); or the folder
        holds checkpoints without a configuration.
    """
    if holds_run(workdir):
        different = [str(one) for one in differences(read_config(workdir, config.task)[0], config) if not one.is_free]
        if different:
            raise UserError(
                f"{workdir}: this folder holds a run of another configuration; give another --workdir, or the same "
                "values:\n  " + "\n  ".join(different)
            )


def holds_run(workdir: Path) -> bool:
    """Tells whether a folder holds a run; it need not exist.

    Raises:
      UserError: the folder cannot be written, or holds checkpoints without a configuration.
    """
    check_output_folder(workdir, checkpoints=True)
    path, saved = workdir / CONFIG_FILE, workdir / CHECKPOINTS_FOLDER
    # The folder comes first: a start that ended before the configuration was written leaves it empty, and is repeated.
    if saved.exists() and not (saved.is_dir() and (path.exists() or not any(saved.iterdir()))):
        raise UserError(
            f"{workdir}: {CHECKPOINTS_FOLDER} exists, but not as a run creates it (a folder beside {CONFIG_FILE}); "
            "give another --workdir"
        )
    return path.exists()


def differences(fields: Mapping[str, Any], config: RunConfig) -> list[Difference]:
    """Lists the fields in which a configuration differs from a saved one, sorted by name.

    Args:
      fields: from `read_config`. A run of an older version lacks newer fields; they count with their defaults.
      config: of the command.
    """
    before, now = {**_plain(type(config)()), **fields}, _plain(config)
    return [
        Difference(field, before.get(field), now.get(field))
        for field in sorted(before.keys() | now.keys())
        if before.get(field) != now.get(field)
    ]


def _plain(config: RunConfig) -> dict[str, Any]:
    """Returns the fields of a configuration as they are saved and read back.

    The permission to change others, and how processes meet, is no part of a run: they are saved as not given.
    """
    config = dataclasses.replace(config, distributed=DistributedConfig())
    fields = {**config.flat(), "train.resume_with_changes": False}
    result: dict[str, Any] = json.loads(json.dumps(fields))
    return result


def write_config(
    workdir: Path, config: RunConfig, classes: tuple[str, ...], policy: Mapping[str, Any] | None = None
) -> None:
    """Writes the configuration and class list of a run into its folder, which must exist (`locked` makes it).

    Args:
      workdir: the folder.
      config, classes: of the run.
      policy: what was chosen where fields of memory are `auto`, as JSON values.
    """
    content = {
        "format": FORMAT,
        "version": _version(),
        "task": config.task,
        "config": _plain(config),
        "classes": list(classes),
    }
    if policy is not None:
        content["memory"] = dict(policy)
    write_text(workdir / CONFIG_FILE, json.dumps(content, indent=1) + "\n")


def read_config(workdir: Path, task: str = Config.task) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Reads the configuration and class list of the run in a folder.

    Args:
      workdir: the folder.
      task: of the run (`RunConfig.task`).

    Returns:
      dotted field -> value as JSON holds it; and the class names.

    Raises:
      UserError: the folder holds no run, one of another task, a damaged configuration, or one of a newer version.
    """
    content = _read_content(workdir)
    if (found := content["task"]) != task:
        raise UserError(
            f"{workdir}: a run of {found}; expected one of {task}: give the folder of such a run, or use the commands "
            f"of {found} (`python -m adatad_jax` lists all)"
        )
    return content["config"], tuple(map(normal, content["classes"]))


def read_task(workdir: Path) -> str:
    """Reads what is trained in a run's folder (`RunConfig.task`); errors as of `read_config`."""
    return str(_read_content(workdir)["task"])


def _read_content(workdir: Path) -> dict[str, Any]:
    """Reads what `write_config` has written; errors as of `read_config`."""
    path = workdir / CONFIG_FILE
    if not path.is_file():
        raise UserError(f"{workdir}: no run here ({CONFIG_FILE} is missing): give the --workdir that was trained in")
    try:
        content = {"format": 1, "task": Config.task, **json.loads(path.read_text())}  # as in folders of older versions
        found, _ = int(content["format"]), (content["config"].keys(), [*map(normal, content["classes"])])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: damaged, or not that of a run: expected JSON with config and classes ({error})"
        ) from error
    if found > FORMAT:
        raise UserError(
            f"{path}: format {found}, written by adatad_jax {content.get('version', 'of a newer version')}; this is "
            f"adatad_jax {_version()}, which reads formats 1 to {FORMAT}: update adatad_jax"
        )
    return content


def _version() -> str:
    """Returns the version of this package, which is known where it is installed."""
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version("adatad-jax")
    return "of unknown version"


def read_policy(workdir: Path) -> dict[str, Any] | None:
    """Reads what the run in a folder has chosen for its memory (`write_config`); None if it is of an older version.

    Raises:
      UserError: as `read_config`.
    """
    policy = _read_content(workdir).get("memory")
    if policy is None:
        return None
    if not isinstance(policy, dict):
        raise UserError(f"{workdir / CONFIG_FILE}: damaged: memory is {policy!r}, expected fields with values")
    return policy


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Creates a run's folder, with that of its checkpoints, and locks it for one training.

    It is locked until the block or the process ends.

    Raises:
      UserError: another process trains in the folder, or the folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            ours = stack.enter_context(lock_held(workdir / LOCK_FILE))
            (workdir / CHECKPOINTS_FOLDER).mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"{workdir}: cannot be written ({error.strerror}); choose another --workdir") from error
        if not ours:
            raise UserError(_another(workdir))
        yield


def is_locked(workdir: Path) -> bool:
    """Tells whether a training is running in a folder, which need not exist."""
    with suppress(OSError), ExitStack() as stack:  # what cannot be opened will be `locked`'s error
        return (workdir / LOCK_FILE).is_file() and not stack.enter_context(lock_held(workdir / LOCK_FILE))
    return False


def check_unlocked(workdir: Path) -> None:
    """Checks that no training is running in a folder, which need not exist, before anything is read or computed.

    Raises:
      UserError: one is.
    """
    if is_locked(workdir):
        raise UserError(_another(workdir))


def _another(workdir: Path) -> str:
    return f"{workdir}: another training is running in this folder; wait for its end, or give another --workdir"
