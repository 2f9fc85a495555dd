"""Which configuration a detector file belongs to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from adatad_jax.config.build import make_vit
from adatad_jax.config.fields import Config
from adatad_jax.config.load import load_config
from adatad_jax.config.open_fields import open_fields
from adatad_jax.conversion.dimensions import Shown, adapters_words, backbone_size, backbone_words
from adatad_jax.data.subset import load_classes
from adatad_jax.errors import UserError
from adatad_jax.weights.restore import check_classes, restore_config


def misfits(shown: Shown, config: Config, classes: int | None) -> list[str]:
    """A line for every field of the configuration that disagrees with what the file shows.

    Args:
      shown: of the file.
      config: a whole configuration.
      classes: number of classes in its list; None where the list is not there to count.
    """
    theirs, ours = shown.backbone, make_vit(config.model)
    adapters = adapters_words(theirs)
    rows: list[tuple[str, object, object, object]] = [
        ("size", backbone_size(ours), backbone_size(theirs), f"{shown.size} ({backbone_words(theirs)})"),
        ("adaptation", (ours.side, bool(ours.tia_blocks)), (theirs.side, bool(theirs.tia_blocks)), adapters),
    ]
    if shown.has_positions:
        rows.append(("image_size", ours.image_size, theirs.image_size, theirs.image_size))
    if ours.tia_blocks and theirs.tia_blocks:
        if theirs.side:
            rows.append(("tia_blocks", len(ours.tia_blocks), len(theirs.tia_blocks), adapters))
        else:
            rows.append(("tia_blocks", ours.tia_blocks, theirs.tia_blocks, adapters))
        rows.append(("tia_ratio", ours.tia_hidden, theirs.tia_hidden, adapters))
    for field in ("width", "embed", "stem", "branch", "head_convs"):
        rows.append((field, getattr(config.model, field), getattr(shown, field), getattr(shown, field)))
    lines = [
        f"config.model.{field}={getattr(config.model, field)!r}: the file shows {words}"
        for field, value, found, words in rows
        if value != found
    ]
    if classes not in (None, shown.classes):
        field = "class_agnostic" if config.data.class_agnostic else "classes"
        value = getattr(config.data, field)
        lines.append(f"config.data.{field}={value!r} ({classes} labels): the file shows {shown.classes} classes")
    return lines


class Choice(NamedTuple):
    """How a detector file is to be read: what its tensors do not show.

    Attributes:
      config, classes: to evaluate and detect with.
      words: where the configuration comes from.
    """

    config: Config
    classes: tuple[str, ...]
    words: str


def choose_config(
    shown: Shown,
    source: Path,
    config: Config | None,
    published: Sequence[Path],
    overrides: Sequence[str] = (),
    record: Mapping[str, Any] | None = None,
) -> Choice:
    """The configuration given, or the file's own, or the only published one that it fits; with its class list.

    Args:
      shown: what the tensors show.
      source: the file.
      config, published, overrides: as for `convert_file`.
      record: the file's own configuration and classes, where this package wrote it (`TensorFile.record`).

    Raises:
      UserError: the one given does not fit (every field is listed); none of the published ones fits, or several do;
        there is no class list, which no file of the release holds, or it is of another length.
    """
    words = "as given"
    own = tuple(record["classes"]) if record else ()
    if config is None and record:
        if overrides:
            raise UserError(f"{' '.join(overrides)}: to change fields of {source}, give --config too")
        config, words = restore_config(record["config"], source), "its own"
        if problems := misfits(shown, config, len(own)):
            raise UserError(
                f"{source}: its tensors do not fit the configuration that it holds:\n  " + "\n  ".join(problems)
            )
        return Choice(config, own, words)
    if config is None:
        candidates = {path: load_config(path, overrides) for path in sorted(published)}
        candidates = {path: c for path, c in candidates.items() if not c.propose}
        fitting = {path: c for path, c in candidates.items() if not misfits(shown, c, _count_classes(c))}
        if len(fitting) != 1:
            raise UserError(_undecided(shown, source, fitting, len(candidates)))
        ((path, config),) = fitting.items()
        words = f"{path}, the only one that fits of {len(candidates)} in {path.parent}"
    elif missing := open_fields(config):
        raise UserError(
            f"{source}: the configuration leaves open how the checkpoint was trained; set config."
            f"{', config.'.join(missing)}"
        )
    elif problems := misfits(shown, config, len(own) or _count_classes(config)):
        raise UserError(
            f"{source}: the configuration does not fit this checkpoint; set these fields, or give another --config:\n  "
            + "\n  ".join(problems)
        )
    if own:
        check_classes(source, own, config)
        return Choice(config, own, words)
    if not _classes_at_hand(config):
        raise UserError(
            f"{source}: has {shown.classes} classes, but does not hold their names, and the class list of the "
            f"configuration ({words}) is not there: config.data.classes={config.data.classes!r}. Give "
            f"--config.data.classes=FILE: {shown.classes} labels, one a line, in the order of the training"
        )
    return Choice(config, load_classes(config), words)


def _undecided(shown: Shown, source: Path, fitting: dict[Path, Config], tried: int) -> str:
    """Why no published configuration could be chosen, and what to do."""
    if not fitting:
        return (
            f"{source}: fits none of the {tried} configurations at hand. Give the one it was trained with, "
            f"--config=FILE (and --config.FIELD=VALUE). The file shows\n  {shown}"
        )
    lines = []
    for path, config in fitting.items():
        mean = f"published mAP {config.published:g}" if config.published else "no mAP published"
        absent = "" if _count_classes(config) else f"; {config.data.classes or 'its class list'} is not there to count"
        lines.append(f"{path} ({mean}{absent})")
    return (
        f"{source}: fits {len(fitting)} configurations, and its tensors do not tell which; choose one with "
        "--config=FILE:\n  " + "\n  ".join(lines)
    )


def _count_classes(config: Config) -> int | None:
    """Number of classes of a configuration; None where nothing says it: no count, no class list, no annotations."""
    data = config.data
    if data.class_count:
        return int(data.class_count)
    return len(load_classes(config)) if _classes_at_hand(config) else None


def _classes_at_hand(config: Config) -> bool:
    """Whether the class list of a configuration, or the annotations in its place, are there to be read."""
    data = config.data
    return data.class_agnostic or Path(data.classes or data.annotations).is_file()
