"""Converts annotation files: `python -m adatad_jax.annotations FILE... --output my.csv`, or `adatad annotations`.

Reads the files of labelling tools and data sets, and the detections of `detect`; writes a table, the release's JSON,
Label Studio's tasks, or ELAN's text.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from adatad_jax import cli
from adatad_jax.annotations.convert import videos_of, without_low_scores
from adatad_jax.annotations.format_keys import AUTO
from adatad_jax.annotations.recognise import FORMATS, read_annotations
from adatad_jax.annotations.records import AnnotationFile, Length, Options
from adatad_jax.annotations.write import (
    AnnotatedVideo,
    labelling_config,
    to_database,
    to_elan,
    to_label_studio,
    to_table,
)
from adatad_jax.config.fields import DataConfig
from adatad_jax.console import make_console
from adatad_jax.data.annotation_table import read_lengths, split_by_hash
from adatad_jax.errors import UserError, listed
from adatad_jax.files import check_output_folder, write_text

TABLE, DATABASE, LABEL_STUDIO, ELAN = KINDS = ("csv", "json", "label-studio", "elan")
USUAL = {".csv": TABLE, ".json": DATABASE, ".txt": ELAN, ".tsv": ELAN, "": ELAN}  # what a suffix stands for
SUBSET = "training"  # of a single video


def main(arguments: Sequence[str]) -> None:
    """Parses the command line, reads the files, and writes them in one other format.

    Args:
      arguments: the command line without the program's name.

    Raises:
      UserError: a file cannot be read or written, or does not hold what the other format needs.
    """
    args = make_parser().parse_args(arguments)
    console, notes = make_console(), list[str]()
    kind = args.to or USUAL.get(args.output.suffix.lower())
    if kind is None:
        raise UserError(f"--output={args.output}: its name does not tell the format; add --to {', '.join(KINDS)}")
    if args.output.suffix:
        _refuse([args.output])
    if args.videos is not None and not args.videos.is_dir():
        raise UserError(f"--videos={args.videos}: no such folder; expected the folder of the video files")
    check_output_folder(args.output.parent if args.output.suffix else args.output)
    files = [_read(path, args, console, notes) for path in args.files]
    videos = videos_of(files, args.videos, _lengths, args.fps or 0.0, args.skip_broken, notes)
    videos = _with_subsets(videos, args.subset, kind, notes)
    for note in notes:
        console.print(f"note: {note}")
    _write(videos, kind, args, console)


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of the command line."""
    formats = "\n".join(f"  {one.key:18s}{one.name}" for one in FORMATS)
    parser = argparse.ArgumentParser(
        description="Convert annotation files of labelling tools and data sets, and detections, into one other format.",
        epilog=f"formats that are read, recognised by their content (--format names one):\n{formats}\n\n"
        "examples:\n"
        "  python -m adatad_jax.annotations boris.csv --output my.csv\n"
        "  python -m adatad_jax.annotations found/*.json --threshold 0.5 --videos DIR --to label-studio --output "
        "tasks.json\n"
        "  python -m adatad_jax.annotations corrected.json --videos DIR --output my.csv",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="annotation files, or folders of them")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="file to write, which must not exist: .csv a table, .json the release's JSON, .txt ELAN; a name without "
        "suffix: a folder with an ELAN text per video",
    )
    parser.add_argument("--to", choices=KINDS, help="format to write, where the name of --output does not tell")
    parser.add_argument(
        "--videos", type=Path, help="folder of the video files: their names, lengths and frame rates are used"
    )
    cli.add_reading_options(parser)
    parser.add_argument(
        "--fps",
        type=cli.positive_number,
        help="rate that the annotations count frames at (default: as they say, or that of the video); for --to "
        "label-studio, the rate to write",
    )
    parser.add_argument(
        "--threshold", type=cli.any_number, help="least score of detections to keep (default: keep all)"
    )
    parser.add_argument(
        "--skip-broken",
        action="store_true",
        help="leave out videos that have no file in --videos, or a row that cannot be read, and list them",
    )
    parser.add_argument("--subset", help="name of the subset of videos whose annotations name none")
    return parser


def _refuse(paths: Sequence[Path]) -> None:
    """Raises `UserError` if one of the files exists."""
    try:
        there = [str(path) for path in paths if path.exists()]
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be a file ({error.strerror}); give another --output") from None
    if there:
        raise UserError(f"exists already, and is not overwritten; remove it, or give another --output:{listed(there)}")


def _read(path: Path, args: argparse.Namespace, console: Console, notes: list[str]) -> AnnotationFile:
    """Reads one file, says what it was read as, and keeps its notes."""
    options = Options(args.format or AUTO, args.label_from or "", args.point_seconds or 0.0)
    file = read_annotations(path, options)
    file = file.without_spoilt() if args.skip_broken else file
    file.check()
    console.print(file.summary())
    notes += [f"{path}: {note}" for note in file.notes]
    return file if args.threshold is None else without_low_scores(file, args.threshold, notes)


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


def _write(videos: list[AnnotatedVideo], kind: str, args: argparse.Namespace, console: Console) -> None:
    """Writes the videos in one format, and says so."""
    output = args.output
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
        rate = args.fps or _common_rate(videos)
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


def entry() -> None:
    """Runs the command as a console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
