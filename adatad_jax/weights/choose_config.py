"""The choice of the configuration and class list that belong to a detector checkpoint."""

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
from adatad_jax.models.sizes import ViTConfig
from adatad_jax.weights.restore import check_classes, restore_config


def misfits(shown: Shown, config: Config, classes: int | None) -> list[str]:
    """Lists the fields of a configuration that disagree with what a checkpoint shows.

    Args:
      shown: what the checkpoint's tensors show.
      config: a configuration without open fields.
      classes: number of classes in its class list; None if the list is missing.

    Returns:
      One line per field.
    """
    theirs, ours = shown.backbone, make_vit(config.model)
    adapters = adapters_words(theirs)
    rows: list[tuple[str, object, object, object]] = [
        ("size", backbone_size(ours), backbone_size(theirs), f"{shown.size} ({backbone_words(theirs)})"),
        ("adaptation", _kind(ours), _kind(theirs), adapters),
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


def _kind(vit: ViTConfig) -> tuple[bool, bool, bool]:
    """Returns what tells the kinds of adapters apart: whether there are any, are beside the backbone, are temporal."""
    return bool(vit.tia_blocks), vit.side, vit.temporal


class ChosenConfig(NamedTuple):
    """What the tensors of a detector checkpoint do not show.

    Attributes:
      config, classes: configuration and class names to evaluate and detect with.
      words: where the configuration comes from, as text.
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
) -> ChosenConfig:
    """Chooses the configuration of a detector checkpoint, with its class list.

    The choice is the given configuration, or else the one that the file holds, or else the only published one that
    fits.

    Args:
      shown: what the tensors show.
      source: the file.
      config, published, overrides: as for `convert_file`.
      record: configuration and classes that the file holds if this package wrote it (`TensorFile.record`).

    Raises:
      UserError: the given configuration does not fit (every field is listed), none or several of the published ones
        fit, or the class list is missing (no file of the release holds one) or has another length.
    """
    words = "as given"
    own = tuple(record["classes"]) if record else ()
    if config is None and record:
        if overrides:
            raise UserError(f"{' '.join(overrides)}: to change fields of {source}, give --config too")
        config, words = restore_config(record["config"], source), "the file's own"
        if problems := misfits(shown, config, len(own)):
            raise UserError(
                f"{source}: its tensors do not fit the configuration that it holds:\n  " + "\n  ".join(problems)
            )
        return ChosenConfig(config, own, words)
    if config is None:
        config, words = _published(shown, source, published, overrides)
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
        return ChosenConfig(config, own, words)
    if not _classes_at_hand(config):
        raise UserError(
            f"{source}: has {shown.classes} classes, but does not hold their names, and the class list of the "
            f"configuration ({words}) is not there: config.data.classes={config.data.classes!r}. Give "
            f"--config.data.classes=FILE: {shown.classes} labels, one per line, in the order of the training"
        )
    return ChosenConfig(config, load_classes(config), words)


def _published(shown: Shown, source: Path, published: Sequence[Path], overrides: Sequence[str]) -> tuple[Config, str]:
    """Returns the only published configuration that fits, and where it comes from, as text."""
    configs = {path: load_config(path, overrides) for path in sorted(published)}
    candidates = {path: config for path, config in configs.items() if not config.propose}
    fitting = {
        path: config for path, config in candidates.items() if not misfits(shown, config, _count_classes(config))
    }
    if len(fitting) != 1:
        raise UserError(_undecided(shown, source, fitting, len(candidates)))
    ((path, config),) = fitting.items()
    return config, f"{path}, the only one that fits of {len(candidates)} in {path.parent}"


def _undecided(shown: Shown, source: Path, fitting: dict[Path, Config], tried: int) -> str:
    """Says why no published configuration could be chosen, and what to do."""
    if not fitting:
        return (
            f"{source}: fits none of the {tried} configurations at hand. Give the one it was trained with, "
            f"--config=FILE (and --config.FIELD=VALUE). The file shows\n  {shown}"
        )
    lines = []
    for path, config in fitting.items():
        mean = f"published mAP {config.published:g}" if config.published else "no mAP published"
        absent = "" if _count_classes(config) else f"; {config.data.classes or 'its class list'} is missing"
        lines.append(f"{path} ({mean}{absent})")
    return (
        f"{source}: fits {len(fitting)} configurations, and its tensors do not tell which; choose one with "
        "--config=FILE:\n  " + "\n  ".join(lines)
    )


def _count_classes(config: Config) -> int | None:
    """Returns a configuration's number of classes; None without a count, a class list and annotations."""
    data = config.data
    if data.class_count:
        return int(data.class_count)
    return len(load_classes(config)) if _classes_at_hand(config) else None


def _classes_at_hand(config: Config) -> bool:
    """Tells whether a configuration's class list, or else its annotation file, exists."""
    data = config.data
    return data.class_agnostic or Path(data.classes or data.annotations).is_file()
