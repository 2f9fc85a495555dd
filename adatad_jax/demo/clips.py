"""Labelled clips on which the demo's backbone is trained: they look unlike the demo's videos, and have other classes.

A clip shows one object, which wanders inside one cell of a grid over the frame; the cell is the label. Nothing else is
in the frame. Outlines, colours and grounds are not those of `demo.scenes`: stars, crosses, hexagons and arrows, turned
anyhow, on a ground that is shaded from one colour to another.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from adatad_jax.console import make_console, progress_bar
from adatad_jax.demo.encode import write_video
from adatad_jax.demo.scenes import Rng, Scene, Shape, render, wander
from adatad_jax.errors import UserError

SIDE = 48
"""Width and height of the clips, pixels."""
FPS = 25
FRAMES = 31
"""Length of a clip: 16 frames at a stride of 2."""
GRID = 5
"""Cells along a side of the frame."""
LABELS = tuple(f"row {row} column {column}" for row in range(1, GRID + 1) for column in range(1, GRID + 1))
RADIUS = (0.08, 0.14)
"""Range of the object's radius, in sides of the frame."""
SPEED = (0.1, 0.6)
"""Range of the object's speed, in sides of the frame per second."""
BRIGHT, GROUND = (190, 256), (50, 140)
"""Half-open ranges of the HSV value of object and ground."""
COLOURED, PALE = (0, 170), (0, 120)
"""Half-open ranges of their saturation."""


def _star(tips: int, waist: float) -> np.ndarray:
    """Returns the corners of a star, `[2*tips, 2]`, whose inner corners are at the distance `waist`."""
    angle = np.arange(2 * tips) * np.pi / tips
    distance = np.where(np.arange(2 * tips) % 2 == 0, 1.0, waist)
    return np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)


_ARM = 0.35

SHAPES: dict[str, np.ndarray] = {
    "star": 1.25 * _star(5, 0.5),
    "hexagon": 1.05 * _star(3, 1.0),
    "cross": 1.1
    * np.array(
        [
            *((-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM)),
            *((_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM)),
        ]
    ),
    "arrow": 1.1 * np.array([(-1, -0.4), (0, -0.4), (0, -1), (1, 0), (0, 1), (0, 0.4), (-1, 0.4)]),
}
"""Name -> corners `[corners, 2]` of the outline, in units of the radius."""


@dataclass(frozen=True)
class _Job:
    """A clip to write: its file, label and seed."""

    path: Path
    label: int
    seed: tuple[int, int]


def plan_clip(rng: Rng, label: int, *, frames: int = FRAMES, side: int = SIDE) -> Scene:
    """Draws a clip.

    Args:
      rng: source of randomness.
      label: index in `LABELS`: where the object is.
      frames: length of the clip.
      side: width and height, pixels.
    """
    row, column = divmod(label, GRID)
    middle = (np.array([column, row]) + 0.5) / GRID - 0.5
    reach = np.full(2, 0.5 / GRID)
    steps = np.arange(frames) / FPS * rng.uniform(*SPEED)
    centres = middle + wander(rng, rng.uniform(-reach, reach), steps, reach)
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    outline = SHAPES[str(rng.choice(list(SHAPES)))] @ turn
    red, green, blue = (int(level) for level in _colour(rng, COLOURED, BRIGHT))
    shape = Shape(outline, (red, green, blue), rng.uniform(*RADIUS), centres)
    return Scene(_shading(rng, side), (shape,), ())


def _colour(rng: Rng, saturation: tuple[int, int], value: tuple[int, int]) -> np.ndarray:
    """Draws an RGB colour of any hue, `[3]` uint8."""
    hsv = np.array([[[rng.integers(180), rng.integers(*saturation), rng.integers(*value)]]], np.uint8)
    rgb: np.ndarray = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]
    return rgb


def _shading(rng: Rng, side: int) -> np.ndarray:
    """Draws a ground that goes from one colour to another, in any direction, `[side, side, 3]` uint8."""
    row, column = np.mgrid[:side, :side]
    angle = rng.uniform(0, 2 * np.pi)
    depth = column * np.cos(angle) + row * np.sin(angle)
    share = ((depth - depth.min()) / np.ptp(depth))[..., None]
    one, other = _colour(rng, PALE, GROUND), _colour(rng, PALE, GROUND)
    ground: np.ndarray = np.round(share * one + (1 - share) * other).astype(np.uint8)
    return ground


def _write_clip(job: _Job) -> None:
    """Renders and encodes one clip."""
    scene = plan_clip(np.random.default_rng(job.seed), job.label)
    write_video(job.path, render(scene), width=SIDE, height=SIDE, fps=FPS)


def generate_clips(
    folder: Path, *, seed: int, clips: int, labels: Sequence[str] = LABELS, workers: int | None = None
) -> None:
    """Writes clips `FOLDER/LABEL/000.mp4` ..., as many for each label.

    The same arguments give the same clips, whatever the number of workers.

    Args:
      folder: folder to write into.
      seed: seed of all clips.
      clips: clips per label.
      labels: which labels, of `LABELS`.
      workers: number of processes; None: one per core.

    Raises:
      UserError: there would be no clip.
    """
    if clips < 1:
        raise UserError(f"clips of the backbone: {clips} per label; expected at least 1")
    jobs = []
    for label in labels:
        (folder / label).mkdir(parents=True, exist_ok=True)
        index = LABELS.index(label)
        jobs += [
            _Job(folder / label / f"{number:03d}.mp4", index, (seed, index * clips + number)) for number in range(clips)
        ]
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    # Spawned, not forked: the caller may hold an accelerator runtime that has its own threads.
    with progress_bar(make_console()) as progress, ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        task = progress.add_task("writing clips", total=len(jobs))
        for future in as_completed([pool.submit(_write_clip, job) for job in jobs]):
            future.result()
            progress.advance(task)
