"""The clips, all written again at one frame rate and size.

UT-Interaction's clips of background have 20 frames per second and its actions 30, and their sizes differ from clip to
clip: both would tell a classifier the class. So all videos are read at 10 frames per second, of which both rates are
multiples, its clips are cut to their central square, and all are scaled to one short side.
"""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
from rich.console import Console

from adatad_jax.console import progress_bar
from adatad_jax.errors import UserError
from adatad_jax.files import whole_file
from adatad_jax.video.steady import open_steady

UT, GMDCSA = "ut_interaction", "gmdcsa24"  # folders of the data
BACKGROUND = "background"
LABELS = ("shake hands", "hug", "kick", "point", "punch", "push", BACKGROUND)  # by the number in a file's name
RATE, SIDE = 10, 128  # frames per second; short side, pixels
PIECE = 16  # frames of a video that are in memory at full size
_UT_NAME = re.compile(r"set\d_\d+_(\d+)_([0-6])")
_GMDCSA_NAME = re.compile(r"Subject_(\d+)_\w+_\d+")


class Clip(NamedTuple):
    """A video that is written again.

    Attributes:
      source: the original.
      path: the new file, which has the name of the original.
      group: UT-Interaction's sequence, or GMDCSA24's subject, from 1: what a fold holds out as a whole.
      label: of UT-Interaction's clips; empty for GMDCSA24's.
    """

    source: Path
    path: Path
    group: int
    label: str = ""


def missing(data: Path) -> str:
    """Returns why the data cannot be used; empty if it can."""
    absent = [name for name, kind in ((UT, "*.avi"), (GMDCSA, "*.mp4")) if not any((data / name).glob(kind))]
    return f"{data}: no folder {' and no folder '.join(absent)} with videos" if absent else ""


def find_clips(data: Path, folder: Path) -> list[Clip]:
    """Lists the clips of both data sets, by name.

    Args:
      data: folder with the folders `UT` and `GMDCSA`.
      folder: in which they are written again.

    Raises:
      UserError: the name of a file does not tell its sequence and class, or its subject.
    """
    clips = []
    for source in sorted((data / UT).glob("*.avi")):
        sequence, label = _parts(_UT_NAME, source, "setN_INDEX_SEQUENCE_CLASS")
        clips.append(Clip(source, folder / UT / f"{source.stem}.mkv", int(sequence), LABELS[int(label)]))
    for source in sorted((data / GMDCSA).glob("*.mp4")):
        (subject,) = _parts(_GMDCSA_NAME, source, "Subject_N_KIND_NN")
        clips.append(Clip(source, folder / GMDCSA / f"{source.stem}.mkv", int(subject)))
    return clips


def _parts(name: re.Pattern[str], source: Path, expected: str) -> tuple[str, ...]:
    match = name.fullmatch(source.stem)
    if match is None:
        raise UserError(f"{source}: expected a name of the form {expected}")
    return match.groups()


def write_all(clips: list[Clip], console: Console) -> None:
    """Writes all clips again that are not there yet.

    Raises:
      UserError: a video cannot be read.
    """
    left = [clip for clip in clips if not clip.path.exists()]
    for folder in {clip.path.parent for clip in clips}:
        folder.mkdir(parents=True, exist_ok=True)
    with progress_bar(console) as bar, ThreadPoolExecutor(2) as pool:
        task = bar.add_task("writing clips", total=len(left))
        for _ in pool.map(lambda clip: write_again(clip.source, clip.path, square=bool(clip.label)), left):
            bar.advance(task)


def write_again(source: Path, target: Path, square: bool) -> None:
    """Writes a video at `RATE` with a short side of `SIDE` pixels, without loss.

    Args:
      source: the video.
      target: `.mkv` file to write.
      square: whether to keep the central square alone.

    Raises:
      UserError: the video cannot be read.
    """
    with whole_file(target) as partial, av.open(str(partial), "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=RATE)
        for number, frame in enumerate(_frames(source, square)):
            if number == 0:
                stream.height, stream.width, stream.pix_fmt = *frame.shape[:2], "bgr0"
                stream.codec_context.time_base = Fraction(1, RATE)
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="bgr0")
            picture.pts, picture.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def _frames(source: Path, square: bool) -> Iterator[np.ndarray]:
    """Yields the frames `[H, W, 3]` uint8 of a video at `RATE`, scaled."""
    reader = open_steady(source, rate=RATE)
    for first in range(0, reader.frame_count, PIECE):
        for frame in reader.read(np.arange(first, min(first + PIECE, reader.frame_count))):
            yield scaled(frame, square)


def scaled(frame: np.ndarray, square: bool) -> np.ndarray:
    """Scales a frame `[H, W, 3]` to a short side of `SIDE` pixels; with `square`, its central square alone."""
    height, width = frame.shape[:2]
    short = min(height, width)
    if square:
        top, left = (height - short) // 2, (width - short) // 2
        frame = frame[top : top + short, left : left + short]
        height = width = short
    size = round(width * SIDE / short), round(height * SIDE / short)
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
