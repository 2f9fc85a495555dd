"""Conversion of annotation files of any tool, and of detections, into one other format."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from adatad_jax.annotations.convert import videos_of, without_low_scores
from adatad_jax.annotations.recognise import read_annotations
from adatad_jax.annotations.records import AnnotationFile, Length, Options
from adatad_jax.annotations.source import sources_kept
from adatad_jax.annotations.write import (
    AnnotatedVideo,
    labelling_config,
    to_database,
    to_elan,
    to_label_studio,
    to_table,
)
from adatad_jax.config.fields import DataConfig
from adatad_jax.data.annotation_table import read_lengths, split_by_hash
from adatad_jax.errors import UserError, listed
from adatad_jax.files import check_output_folder, write_text
from adatad_jax.video.names import check_videos_folder

TABLE, DATABASE, LABEL_STUDIO, ELAN = KINDS = ("csv", "json", "label-studio", "elan")
SUBSET = "training"  # of a single video


@dataclass(frozen=True)
class Conversion:
    """What is converted.

    Attributes:
      files: annotation files, or folders of them.
      output: file to write, which must not exist; without a suffix, a folder.
      kind: format to write, of `KINDS`.
      options: how to read the files.
      videos: folder of the video files, whose names, lengths and rates are used; None: there is none.
      fps: frames per second that the annotations count at, and that Label Studio is to count at; 0: as they say.
      threshold: least score of detections to keep; None: all are.
      skip_broken: whether videos without a file, or with a row that cannot be read, are left out.
      subset: of videos whose annotations name none; None: a split where the format needs one.
    """

    files: Sequence[Path]
    output: Path
    kind: str
    options: Options
    videos: Path | None
    fps: float
    threshold: float | None
    skip_broken: bool
    subset: str | None


def convert_annotations(wanted: Conversion, console: Console) -> None:
    """Reads the files, and writes them in one other format.

    Args:
      wanted: what is converted.
      console: where to report.

    Raises:
      UserError: a file cannot be read or written, or does not hold what the other format needs.
    """
    if wanted.output.suffix:
        _refuse([wanted.output])
    check_videos_folder(wanted.videos)
    check_output_folder(wanted.output.parent if wanted.output.suffix else wanted.output)
    notes: list[str] = []
    with sources_kept():
        files = [_read(path, wanted, console, notes) for path in wanted.files]
    videos = videos_of(files, wanted.videos, _lengths, wanted.fps, wanted.skip_broken, notes)
    videos = _with_subsets(videos, wanted.subset, wanted.kind, notes)
    for note in notes:
        console.print(f"note: {note}")
    _write(videos, wanted, console)


def _refuse(paths: Sequence[Path]) -> None:
    """Raises `UserError` if one of the files exists."""
    try:
        there = [str(path) for path in paths if path.exists()]
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be a file ({error.strerror}); give another --output") from None
    if there:
        raise UserError(f"exists already, and is not overwritten; remove it, or give another --output:{listed(there)}")


def _read(path: Path, wanted: Conversion, console: Console, notes: list[str]) -> AnnotationFile:
    """Reads one file, says what it was read as, and keeps its notes."""
    file = read_annotations(path, wanted.options)
    file = file.without_spoilt() if wanted.skip_broken else file
    file.check()
    console.print(file.summary())
    notes += [f"{path}: {note}" for note in file.notes]
    return file if wanted.threshold is None else without_low_scores(file, wanted.threshold, notes)


def _lengths(files: Mapping[str, Path]) -> Mapping[str, Length]:
    """Reads the lengths of video files; raises `UserError` if one cannot be read."""
    if not files:
        return {}
    data = DataConfig()
    lengths, unreadable = read_lengths(files, data.threads, data.time_limit)
    if unreadable:
        raise UserError(f"{len(unreadable)} of {len(files)} videos cannot be read:{listed(unreadable)}")
    return lengths


def _with_subsets(
    videos: list[AnnotatedVideo], subset: str | None, kind: str, notes: list[str]
) -> list[AnnotatedVideo]:
    """Gives a subset to videos that have none: the one that is asked for, or, where the format needs one, a split."""
    lacking = [video.name for video in videos if not video.subset]
    if not lacking or (subset is None and kind != DATABASE and len(lacking) == len(videos)):
        return videos
    if subset is None and len(lacking) < len(videos):
        raise UserError(
            f"{len(lacking)} videos have no subset and others have; name it with --subset:{listed(lacking)}"
        )
    if subset is not None or len(videos) == 1:
        chosen = dict.fromkeys(lacking, subset or SUBSET)
    else:
        share = DataConfig().split
        chosen = split_by_hash(lacking, share)
        notes.append(f"the annotations name no subsets: {share:.0%} of the videos are for training (or set --subset)")
    return [video._replace(subset=chosen.get(video.name, video.subset)) for video in videos]


def _write(videos: list[AnnotatedVideo], wanted: Conversion, console: Console) -> None:
    """Writes the videos in one format, and says so."""
    output, kind = wanted.output, wanted.kind
    texts = {output: ""}
    if kind == TABLE:
        texts[output] = to_table(videos)
    elif kind == DATABASE:
        try:
            texts[output] = to_database(videos)
        except ValueError as error:
            raise UserError(
                f"{output}: this format needs durations and frame counts, which the annotations do not give for "
                f"{error}; give --videos FOLDER"
            ) from None
    elif kind == LABEL_STUDIO:
        rate = wanted.fps or _common_rate(videos)
        texts[output] = to_label_studio(videos, rate)
        labels = sorted({segment.label for video in videos for segment in video.segments})
        console.print(
            "labelling configuration for Label Studio (all videos are counted at this rate, whatever their own):\n"
            + labelling_config(labels, rate)
        )
    elif output.suffix:
        texts[output] = to_elan(videos)
    else:
        texts = {output / f"{video.name}.txt": to_elan([video]) for video in videos if video.segments}
        _refuse(list(texts))
    if kind == ELAN and (bare := [video.name for video in videos if not video.segments]):
        console.print(f"note: videos without segments are not in ELAN's text: {len(bare)}{listed(bare)}")
    if kind == ELAN and any(video.subset for video in videos):
        console.print("note: the subsets are not in ELAN's text")
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    segments = sum(len(video.segments) for video in videos)
    console.print(f"wrote {segments} segments of {len(videos)} videos to {output}")


def _common_rate(videos: Sequence[AnnotatedVideo]) -> float:
    """Returns the highest frame rate of the videos, at which no segment loses a frame of its own."""
    rates = [video.length.fps for video in videos if video.length.fps > 0]
    if not rates:
        raise UserError("Label Studio counts frames: give --videos FOLDER for the frame rate, or --fps")
    return round(max(rates), 3)
