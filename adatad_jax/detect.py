"""Finds actions in any video: `python -m adatad_jax.detect --workdir DIR --output OUT VIDEO...`."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from rich.console import Console
from rich.progress import track

from adatad_jax import cli
from adatad_jax.config import default, make_model, make_post_processing
from adatad_jax.data.annotations import Video
from adatad_jax.data.dataset import SlidingWindows, Subset
from adatad_jax.data.decode import open_video
from adatad_jax.data.loader import load_ahead
from adatad_jax.errors import UserError
from adatad_jax.evaluation.detections import Detections
from adatad_jax.files import check_output_folder, write_text
from adatad_jax.inference import Predictor, detect_windows
from adatad_jax.timeline import draw_timeline, thumbnails
from adatad_jax.training import checkpoints


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and detects; the exit code is 1 if some video failed."""
    parser = argparse.ArgumentParser(
        description="Find actions in video files with a trained detector: per video OUT/NAME.json and OUT/NAME.png."
    )
    parser.add_argument("--workdir", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--output", type=Path, required=True, help="folder to write into")
    parser.add_argument("videos", type=Path, nargs="+", metavar="VIDEO", help="video files of any length and format")
    args = parser.parse_args(arguments)
    failures = detect_files(args.workdir, args.output, args.videos, cli.make_console())
    if failures:
        sys.exit(1)


def detect_files(
    workdir: Path,
    output: Path,
    videos: Sequence[Path],
    console: Console,
    truth: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> list[str]:
    """Detects in each file and writes JSON and picture; a file that fails does not stop the others.

    Args:
      workdir: folder of the training run.
      output: folder to write into.
      videos: the files.
      console: where to report.
      truth: by file stem, annotated segments `[G, 2]` in seconds and labels `[G]` to draw into the picture.

    Returns:
      What went wrong, a message for each failed file; each is printed too.

    Raises:
      UserError: there is no trained detector, or two files would write the same output.
    """
    stems = [video.stem for video in videos]
    doubled = sorted({str(video) for video in videos if stems.count(video.stem) > 1})
    if doubled:
        raise UserError(f"these videos would write to the same files in {output}: {', '.join(doubled)}; run them apart")
    fields, classes = checkpoints.read_config(workdir)
    config = restore_config(fields)
    cli.set_precision(config.model.dtype)
    params, epoch = checkpoints.restore_averaged(workdir)
    predictor = Predictor(make_model(config, len(classes)), params, per_device=1)
    console.print(f"{workdir}: epoch {epoch}, {len(classes)} classes")
    check_output_folder(output)
    output.mkdir(parents=True, exist_ok=True)
    failures = []
    for path in videos:
        try:
            detections, video = detect_file(path, config, classes, predictor, console)
            write(output, path, video, detections, classes, (truth or {}).get(path.stem))
        except (UserError, OSError) as error:
            failures.append(str(error))
            console.print(f"failed: {error}", style="red")
            continue
        best = f", best {detections.scores.max():.2f}" if len(detections) else ""
        console.print(
            f"{path}: {video.duration:.1f} s, {len(detections)} detections{best} -> {output / path.stem}.json, .png"
        )
    return failures


def restore_config(fields: dict[str, object]) -> ConfigDict:
    """The configuration of a run from its saved fields, on top of today's defaults.

    Raises:
      UserError: the run has fields that this version does not know.
    """
    config = default()
    known = cli.flatten(config)
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise UserError(f"the run was made by another version: unknown configuration fields {', '.join(unknown)}")
    config.update_from_flattened_dict({name: _tuples(value) for name, value in fields.items()})
    config.data.in_memory = False  # a file may be hours long
    return config


def _tuples(value: object) -> object:
    """JSON's lists as the tuples they were."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def detect_file(
    path: Path, config: ConfigDict, classes: tuple[str, ...], predictor: Predictor, console: Console
) -> tuple[Detections, Video]:
    """Detections of one file, and the file as a video without annotations.

    Raises:
      UserError: the file cannot be read.
    """
    reader = open_video(path)
    if reader.fps <= 0:
        raise UserError(f"{path}: the container gives no frame rate; convert the file to a format that has one")
    video = Video(path.stem, "", reader.frame_count / reader.fps, reader.frame_count, np.zeros((0, 2)), ())
    subset = Subset({path.stem: video}, {path.stem: path}, classes, {})
    windows = SlidingWindows(subset, config)
    samples = load_ahead(range(len(windows)), windows.load, config.data.threads, ahead=max(2, 2 * predictor.batch_size))
    pairs = ((windows.windows[index], sample) for index, sample in samples)
    watched = track(pairs, total=len(windows), description=path.name, console=console, transient=True)
    ((_, detections, _),) = detect_windows(
        predictor, watched, subset.videos, config.data.stride, make_post_processing(config)
    )
    return detections, video


def write(
    output: Path,
    path: Path,
    video: Video,
    detections: Detections,
    classes: tuple[str, ...],
    truth: tuple[np.ndarray, np.ndarray] | None,
) -> None:
    """Writes OUT/NAME.json (by falling score) and OUT/NAME.png."""
    content = {
        "video": str(path),
        "duration": video.duration,
        "fps": video.fps,
        "detections": [
            {"segment": segment, "label": classes[label], "score": score}
            for segment, label, score in zip(
                detections.segments.tolist(), detections.labels.tolist(), detections.scores.tolist(), strict=True
            )
        ],
    }
    write_text(output / f"{path.stem}.json", json.dumps(content, indent=1) + "\n")
    draw_timeline(output / f"{path.stem}.png", detections, classes, video.duration, thumbnails(path), path.name, truth)


def entry() -> None:
    """Console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
