"""Labels, classes and subsets of videos: from the folders that they lie in, or from a table."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from adatad_jax.config.clip_fields import LabelledClipsConfig
from adatad_jax.data.annotation_table import SPLIT, split_by_hash
from adatad_jax.data.annotations import read_classes, select_subset
from adatad_jax.data.cache import cached_names
from adatad_jax.data.clip_table import ClipRow, read_table
from adatad_jax.data.clip_videos import ClipVideo, find_clip_videos, only_cached, usable_clips, videos_by_name
from adatad_jax.errors import UserError, few, listed
from adatad_jax.video.names import EXTENSIONS, find_files, videos_below
from adatad_jax.video.spelling import normal

_logger = logging.getLogger(__name__)


class Labelled(NamedTuple):
    """A labelled video.

    Attributes:
      file: the video file; None where a cache stands in for it.
      label: class name.
      subset: empty where there are none.
    """

    file: Path | None
    label: str
    subset: str


class LabelledVideos(NamedTuple):
    """The labelled videos of a data set; names are those of `find_clip_videos`, ascending.

    Attributes:
      classes: K class names, in the order of the classifier's outputs.
      training: name -> video to train on.
      test: name -> video to evaluate on; empty if none was asked for.
    """

    classes: tuple[str, ...]
    training: dict[str, Labelled]
    test: dict[str, Labelled]


def load_labels(data: LabelledClipsConfig, with_test: bool = True) -> LabelledVideos:
    """Finds the videos and their labels, and opens no file of a video.

    Labels are those of the table `data.labels`, or else the names of the folders: `LABEL/VIDEO`, or
    `SUBSET/LABEL/VIDEO` where some first folder is called `data.train_subset` or `data.test_subset`. Where there are no
    subsets, the videos of each label are split by `split_by_hash`; the only video of a label is for training.

    Args:
      data: of the configuration.
      with_test: whether videos to evaluate on are needed.

    Raises:
      UserError: the folder, its videos, the table or the class list are missing or wrong, a label is not in the class
        list, there are fewer than two classes, or a subset is empty.
    """
    videos = _by_table(data) if data.labels else _by_folder(data)
    source = data.labels or data.videos
    classes = _classes(videos, data, source)
    if next(iter(videos.values())).subset:
        training = select_subset(videos, data.train_subset, source)
        test = select_subset(videos, data.test_subset, source) if with_test else {}
    else:
        subsets = _split(videos, data.split)
        training, test = ({name: one for name, one in videos.items() if subsets[name] == own} for own in SPLIT)
        if with_test and not test:
            raise UserError(
                f"{source}: no label has a second video, so that none is left to evaluate on; add some, or train "
                "without evaluations: --config.train.eval_from=0"
            )
        test = test if with_test else {}
    seen = {one.label for one in training.values()}
    if unseen := [label for label in classes if label not in seen]:
        _logger.warning(
            "%s: %d of %d classes have no training video: %s", source, len(unseen), len(classes), few(unseen)
        )
    return LabelledVideos(classes, training, test)


def usable_labelled(
    videos: Mapping[str, Labelled], classes: Sequence[str], data: LabelledClipsConfig
) -> dict[str, ClipVideo]:
    """Opens every labelled video once; see `usable_clips`.

    Args:
      videos: of a subset.
      classes: the model's class names, among which all labels are.
      data: of the configuration.
    """
    places = {label: index for index, label in enumerate(classes)}
    labels = {name: places[one.label] for name, one in videos.items()}
    return usable_clips({name: one.file for name, one in videos.items()}, data, labels)


def _by_folder(data: LabelledClipsConfig) -> dict[str, Labelled]:
    """Returns the videos of the folder with the labels that it gives them."""
    files = find_clip_videos(data)
    folders = {name: PurePosixPath(name).parts[:-1] for name in files}
    subsets = {normal(data.train_subset), normal(data.test_subset)}
    # Folders of subsets without folders of labels in them would pass for labels.
    nested = any(len(parts) == 2 and parts[0] in subsets for parts in folders.values()) or all(
        parts[:1] and parts[0] in subsets for parts in folders.values()
    )
    depth = 2 if nested else 1
    if odd := [name for name, parts in folders.items() if len(parts) != depth]:
        first = Counter(parts[0] for parts in folders.values() if len(parts) == 2)
        hint = ", ".join(f'"{name}" ({count} videos)' for name, count in sorted(first.items()))
        raise UserError(
            f"config.data.videos={data.videos}: {len(odd)} of {len(files)} videos are not {'two' if nested else 'one'} "
            "folder(s) deep, expected LABEL/VIDEO throughout, or SUBSET/LABEL/VIDEO with the subsets "
            f"--config.data.train_subset={data.train_subset} and --config.data.test_subset={data.test_subset}; move "
            "them, set the subsets, or list labels in a CSV (--config.data.labels)"
            + (f"; the first folders of two are {hint}" if hint else "")
            + listed(odd)
        )
    return {name: Labelled(path, folders[name][-1], folders[name][0] if nested else "") for name, path in files.items()}


def _by_table(data: LabelledClipsConfig) -> dict[str, Labelled]:
    """Returns the videos of the table; a warning lists those of the folder that it does not name."""
    path = Path(data.labels)
    rows = read_table(path)
    names, files, unknown = _located(list(dict.fromkeys(row.video for row in rows)), data)
    problems: list[str] = []
    missing = [f"{row.where}: {unknown[row.video]}" for row in rows if row.video in unknown]
    if missing and data.skip_broken and files:
        _logger.warning("%s: left out, as config.data.skip_broken is set:%s", path, listed(missing))
    else:
        problems += missing
    own: dict[str, list[ClipRow]] = defaultdict(list)
    for row in rows:
        if row.video in names:
            own[names[row.video]].append(row)
    for several in own.values():
        if len({(row.label, row.subset) for row in several}) > 1:
            each = ", ".join(f'{row.where} "{row.label}" {row.subset}'.rstrip() for row in several)
            problems.append(f"video {several[0].video} has several labels or subsets ({each}); keep one")
    if problems:
        raise UserError(f"{path}: {len(problems)} problem(s) to correct:{listed(problems)}")
    if repeated := len(rows) - len(missing) - len(own):
        _logger.warning("%s: %d lines repeat others, and count once", path, repeated)
    if not only_cached(data):
        _warn_of_unused(path, Path(data.videos), set(files.values()))
    return {name: Labelled(files[name], own[name][0].label, own[name][0].subset) for name in sorted(own)}


def _located(
    videos: list[str], data: LabelledClipsConfig
) -> tuple[dict[str, str], Mapping[str, Path | None], dict[str, str]]:
    """Finds the videos that a table names.

    Returns:
      video as written -> name; name -> video file, or None where the cache stands in for it; and video as written ->
      problem, for those that are not found.
    """
    if only_cached(data):
        known = set(cached_names(Path(data.cache), (data.short_side, data.crop)))
        names = {video: name for video in videos for name in (video, _without_extension(video)) if name in known}
        problem = f"not in the cache {data.cache} at short side {data.short_side} or {data.crop}"
        missing = {video: f"{video}: {problem}" for video in videos if video not in names}
        return names, dict.fromkeys(names.values()), missing
    folder = Path(data.videos)
    found, problems = find_files(folder, videos)
    written = {path: video for video, path in found.items()}
    files = videos_by_name(written, folder)
    return {written[path]: name for name, path in files.items()}, files, problems


def _without_extension(video: str) -> str:
    path = PurePosixPath(video)
    return path.with_suffix("").as_posix() if path.suffix.lower() in EXTENSIONS else video


def _warn_of_unused(path: Path, folder: Path, used: set[Path | None]) -> None:
    unused = [str(found.relative_to(folder)) for found in videos_below(folder) if found not in used]
    if unused:
        _logger.warning("%s: not in %s, not used: %d videos:%s", folder, path.name, len(unused), listed(unused))


def _classes(videos: Mapping[str, Labelled], data: LabelledClipsConfig, source: str) -> tuple[str, ...]:
    """Returns the class names: of the class list, or else the sorted labels of all subsets."""
    counts = Counter(one.label for one in videos.values())
    classes = read_classes(data.classes) if data.classes else tuple(sorted(counts))
    if strangers := sorted(set(counts) - set(classes)):
        each = [f'"{label}" ({counts[label]} videos)' for label in strangers]
        raise UserError(
            f"{source}: {len(strangers)} labels are not in the class list {data.classes} of {len(classes)} classes; "
            f"give the list that belongs to these videos, or none:{listed(each)}"
        )
    if len(classes) < 2:
        raise UserError(f'{data.classes or source}: the only class is "{classes[0]}", expected at least two')
    return classes


def _split(videos: Mapping[str, Labelled], share: float) -> dict[str, str]:
    """Returns name -> subset, `SPLIT`; each label is split by itself."""
    by_label: dict[str, list[str]] = defaultdict(list)
    for name, one in videos.items():
        by_label[one.label].append(name)
    subsets: dict[str, str] = {}
    alone = []
    for label, names in by_label.items():
        if len(names) > 1:
            subsets |= split_by_hash(names, share)
        else:
            subsets[names[0]] = SPLIT[0]
            alone.append(label)
    if alone:
        _logger.warning("%d labels have one video each, which is for training: %s", len(alone), few(alone))
    return subsets
