"""Finds actions in any video: `python -m adatad_jax.detect --workdir DIR --output OUT VIDEO...`.

With `--checkpoint FILE_OR_FOLDER` in place of `--workdir`, the detector is one of the PyTorch release, or one that
convert/pth_to_flax.py converted.
"""

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
from adatad_jax.config import make_model, make_post_processing
from adatad_jax.data.annotations import Video
from adatad_jax.data.dataset import InferenceWindows, Subset
from adatad_jax.data.decode import open_video
from adatad_jax.data.loader import load_ahead, unwrap
from adatad_jax.errors import UserError
from adatad_jax.evaluation.detections import Detections
from adatad_jax.files import check_output_folder, write_text
from adatad_jax.inference import Predictor, detect_windows
from adatad_jax.timeline import draw_timeline, thumbnails
from adatad_jax.trained import Trained, load_trained


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and detects; the exit code is 1 if some video failed."""
    parser = argparse.ArgumentParser(
        description="Find actions in video files with a trained detector: per video OUT/NAME.json and OUT/NAME.png.",
        allow_abbrev=False,
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--workdir", type=Path, help="folder of the training run")
    which.add_argument(
        "--checkpoint",
        type=Path,
        help="a detector checkpoint of the PyTorch release, or a folder of convert/pth_to_flax.py",
    )
    parser.add_argument(
        "--config",
        type=Path,
        help="configuration of --checkpoint, with --config.FIELD=VALUE; may be left out where the checkpoint tells it",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write into")
    parser.add_argument("videos", type=Path, nargs="+", metavar="VIDEO", help="video files of any length and format")
    args, overrides = cli.parse_overrides(parser, arguments)
    if args.workdir and (args.config or overrides):
        parser.error("--config belongs to --checkpoint; a run is used as it was trained")
    config = cli.load_config(args.config, overrides) if args.config else None
    trained = load_trained(args.workdir or args.checkpoint, config, overrides)
    failures = detect_files(trained, args.output, args.videos, cli.make_console())
    if failures:
        sys.exit(1)


def detect_files(
    trained: Trained,
    output: Path,
    videos: Sequence[Path],
    console: Console,
    truth: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> list[str]:
    """Detects in each file and writes JSON and picture; a file that fails does not stop the others.

    Args:
      trained: the detector.
      output: folder to write into.
      videos: the files.
      console: where to report.
      truth: by file stem, annotated segments `[G, 2]` in seconds and labels `[G]` to draw into the picture.

    Returns:
      What went wrong, a message for each failed file; each is printed too.

    Raises:
      UserError: two files would write the same output, or the folder cannot be written into.
    """
    stems = [video.stem for video in videos]
    doubled = sorted({str(video) for video in videos if stems.count(video.stem) > 1})
    if doubled:
        raise UserError(f"these videos would write to the same files in {output}: {', '.join(doubled)}; run them apart")
    check_output_folder(output)
    config, classes = trained.config.copy_and_resolve_references(), trained.classes
    config.data.in_memory, config.data.cache = False, ""  # a file may be hours long, and is in no cache
    cli.set_precision(config.model.dtype)
    predictor = Predictor(make_model(config, len(classes)), trained.params, per_device=1)
    console.print(f"{trained.origin}, {len(classes)} classes")
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
    windows = InferenceWindows(subset, config)
    samples = load_ahead(range(len(windows)), windows.load, config.data.threads, ahead=max(2, 2 * predictor.batch_size))
    pairs = ((windows.windows[index], unwrap(sample)) for index, sample in samples)
    watched = track(pairs, total=len(windows), description=path.name, console=console, transient=True)
    ((_, detections, _),) = detect_windows(predictor, watched, windows.seconds, make_post_processing(config))
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
