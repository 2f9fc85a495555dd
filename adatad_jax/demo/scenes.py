"""Untrimmed videos of moving shapes whose actions show only in the motion, never in a single frame.

A scene shows a bright actor and some dark bystanders on a still ground. Every shape wanders in straight legs from one
place to the next. Now and then the actor stops wandering and walks the closed path of one of the `KINDS`, round after
round, until the segment ends. The actor is in every frame and always moving, and its motion has no jump at a boundary.
Place, direction, phase, colour, size, shape and speed have the same distribution for every kind, so no single frame
reveals the action. The kinds are flip-symmetric: a mirrored video keeps its labels.

Lengths and places are in units of the frame's short side, relative to the frame's centre (x right, y down). The actor
never leaves the central square, which is the part that a centre crop keeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np

Rng = np.random.Generator

_TURN = np.linspace(0, 2 * np.pi, 24, endpoint=False)

KINDS: dict[str, np.ndarray] = {
    "shake": np.array([(-1, 0), (1, 0)], np.float64),
    "bounce": np.array([(0, -1), (0, 1)], np.float64),
    "circle": np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1),
    "bowtie": np.array([(-1, -1), (1, 1), (1, -1), (-1, 1)], np.float64),
}
"""Name -> corners `[corners, 2]` of the closed path, in units of the amplitude."""

SHAPES: dict[str, np.ndarray] = {
    "disc": np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1),
    "square": 0.9 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], np.float64),
    "diamond": 1.2 * np.array([(0, -1), (1, 0), (0, 1), (-1, 0)], np.float64),
    "triangle": 1.2 * np.array([(0, -1), (0.87, 0.6), (-0.87, 0.6)], np.float64),
}
"""Name -> corners `[corners, 2]` of the outline, in units of the radius."""

AMPLITUDE = (0.13, 0.18)
"""Range of half the side of the square that an action's path fills."""
ACTION_SPEED = (0.45, 0.75)
"""Range of the speed along the path, in short sides per second."""
ACTOR_WANDER_SPEED = (0.15, 0.45)
BYSTANDER_SPEED = (0.15, 0.75)
RADIUS = (0.09, 0.13)
BRIGHT, GROUND, DARK = (200, 256), (70, 130), (0, 40)
"""Half-open ranges of the brightness of actor, ground and bystanders, out of 256."""
MARGIN = 0.14
"""Distance that the centre of the actor keeps from the edge of the central square."""
SEGMENT_SECONDS = (1.5, 5.0)
GAP_SECONDS = (0.8, 2.5)


@dataclass(frozen=True)
class Shape:
    """A moving shape: outline `[corners, 2]`, RGB colour, radius, and centres `[T, 2]`, one per frame."""

    outline: np.ndarray
    colour: tuple[int, int, int]
    radius: float
    centres: np.ndarray


@dataclass(frozen=True)
class ActionFrames:
    """An action over the frames `[start, end)`."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Scene:
    """Everything that one video shows; `ground` is `[H, W, 3]` uint8, the actor is the last of `shapes`."""

    ground: np.ndarray
    shapes: tuple[Shape, ...]
    segments: tuple[ActionFrames, ...]

    @property
    def frames(self) -> int:
        """Returns the number of frames."""
        return len(self.shapes[-1].centres)


def walk(corners: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Returns the points `[T, 2]` at `distances` `[T]` along the polyline through `corners` `[corners, 2]`.

    Distances beyond the length of the polyline give its last corner.
    """
    reached = np.concatenate([[0.0], np.linalg.norm(np.diff(corners, axis=0), axis=1).cumsum()])
    return np.stack([np.interp(distances, reached, corners[:, axis]) for axis in (0, 1)], axis=1)


def circuit(kind: str, distances: np.ndarray) -> np.ndarray:
    """Returns the points `[T, 2]` at `distances` `[T]`, of any sign and size, around the closed path of `kind`."""
    closed = np.concatenate([KINDS[kind], KINDS[kind][:1]])
    length = np.linalg.norm(np.diff(closed, axis=0), axis=1).sum()
    return walk(closed, np.mod(distances, length))


def plan_segments(rng: Rng, frames: int, fps: float) -> tuple[ActionFrames, ...]:
    """Draws segments with background before, between and after them.

    Args:
      rng: source of randomness.
      frames: length of the video, frames.
      fps: frames per second.

    Returns:
      The segments in order; at least one in a video of 3 seconds or more.
    """
    segments: list[ActionFrames] = []
    cursor, shortest, longest = 0.0, *SEGMENT_SECONDS
    while True:
        start = cursor + rng.uniform(*GAP_SECONDS) if cursor else rng.uniform(0.4, 1.2)
        room = frames / fps - GAP_SECONDS[0] - start
        if room < shortest:
            return tuple(segments)
        cursor = start + np.exp(rng.uniform(np.log(shortest), np.log(min(longest, room))))
        label = str(rng.choice(list(KINDS)))
        segments.append(ActionFrames(round(start * fps), round(cursor * fps), label))


def wander(rng: Rng, start: np.ndarray, steps: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Draws a path from `start` through random places in the box `±reach`.

    Args:
      rng: source of randomness.
      start: `[2]` first place.
      steps: `[T]` ascending distances along the path.
      reach: `[2]` half the sides of the box.

    Returns:
      Centres `[T, 2]` at these distances.
    """
    corners, length = [start], 0.0
    while length <= steps[-1]:
        corners.append(rng.uniform(-reach, reach))
        length += float(np.linalg.norm(corners[-1] - corners[-2]))
    return walk(np.array(corners), steps)


def act(rng: Rng, kind: str, start: np.ndarray, steps: np.ndarray, amplitude: float) -> np.ndarray:
    """Draws a walk around the path of `kind` from `start`, with random phase, direction and mirroring.

    Args:
      rng: source of randomness.
      kind: one of `KINDS`.
      start: `[2]` first place.
      steps: `[T]` ascending distances along the path.
      amplitude: half the side of the square that the path fills.

    Returns:
      Centres `[T, 2]` at these distances.
    """
    limit = 0.5 - MARGIN
    best, least = np.empty(0), np.inf
    for _ in range(32):
        phase, direction = rng.uniform(0, 16), rng.choice((-1.0, 1.0))
        mirror = rng.choice((-1.0, 1.0), size=2)
        centre = start - amplitude * mirror * circuit(kind, np.array([phase]))[0]
        overflow = np.abs(centre).max() + amplitude - limit
        if overflow < least:
            best, least = centre + amplitude * mirror * circuit(kind, phase + direction * steps / amplitude), overflow
        if least <= 0:
            break
    return best


def actor_centres(rng: Rng, segments: tuple[ActionFrames, ...], frames: int, fps: float) -> np.ndarray:
    """Draws the actor's centres `[T, 2]`: wandering between the segments, the action's path in them, without a jump."""
    reach = np.full(2, 0.5 - MARGIN - AMPLITUDE[1])
    place = rng.uniform(-reach, reach)
    pieces, cursor = [], 0
    for segment in (*segments, None):
        start, end = (segment.start, segment.end) if segment else (frames, frames)
        for first, last, label in ((cursor, start, None), (start, end, segment.label if segment else None)):
            if first == last:
                continue
            steps = np.arange(1, last - first + 1) / fps * rng.uniform(*(ACTION_SPEED if label else ACTOR_WANDER_SPEED))
            if label:
                pieces.append(act(rng, label, place, steps, rng.uniform(*AMPLITUDE)))
            else:
                pieces.append(wander(rng, place, steps, reach))
            place = pieces[-1][-1]
        cursor = end
    limit = 0.5 - MARGIN
    return np.concatenate(pieces).clip(-limit, limit)


def random_shape(rng: Rng, centres: np.ndarray, values: tuple[int, int]) -> Shape:
    """Draws a shape of random outline, radius and colour for these centres `[T, 2]`.

    The HSV value of the colour lies in the half-open range `values`.
    """
    hsv = np.array([[[rng.integers(180), rng.integers(20, 160), rng.integers(*values)]]], np.uint8)
    red, green, blue = (int(value) for value in cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0])
    return Shape(SHAPES[str(rng.choice(list(SHAPES)))], (red, green, blue), rng.uniform(*RADIUS), centres)


def plan_scene(rng: Rng, *, width: int, height: int, frames: int, fps: float) -> Scene:
    """Draws one scene.

    Args:
      rng: source of randomness.
      width, height: size of the frames, pixels.
      frames: number of frames.
      fps: frames per second.

    Raises:
      ValueError: the scene would be shorter than 3 seconds.
    """
    if frames < 3 * fps:
        raise ValueError(f"a scene needs at least 3 seconds, got {frames} frames at {fps} fps")
    segments = plan_segments(rng, frames, fps)
    reach = np.array([width, height]) / min(width, height) / 2
    seconds = np.arange(frames) / fps
    bystanders = [
        random_shape(rng, wander(rng, rng.uniform(-reach, reach), seconds * rng.uniform(*BYSTANDER_SPEED), reach), DARK)
        for _ in range(rng.integers(1, 3))
    ]
    actor = random_shape(rng, actor_centres(rng, segments, frames, fps), BRIGHT)
    blots = rng.integers(*GROUND, size=(ceil(height / 16), ceil(width / 16), 3), dtype=np.uint8)
    ground = cv2.resize(blots, (width, height), interpolation=cv2.INTER_CUBIC)
    return Scene(ground, (*bystanders, actor), segments)


def render(scene: Scene) -> Iterator[np.ndarray]:
    """Yields the frames `[H, W, 3]` uint8 RGB in order; the actor is in front."""
    height, width = scene.ground.shape[:2]
    side, fraction = min(height, width), 8
    for frame in range(scene.frames):
        image = scene.ground.copy()
        for shape in scene.shapes:
            outline = (shape.centres[frame] + shape.radius * shape.outline) * side + (width / 2 - 0.5, height / 2 - 0.5)
            points = np.round(outline * 2**fraction).astype(np.int32)
            cv2.fillPoly(image, [points], shape.colour, lineType=cv2.LINE_AA, shift=fraction)
        yield image
