"""A picture of a video's detections: thumbnails along time, and a row of segments per class."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from adatad_jax.data.decode import frames_at, open_video
from adatad_jax.data.transforms import resize_short_side
from adatad_jax.evaluation.detections import Detections

THUMBNAILS = 10
THUMBNAIL_SIDE = 96  # pixels
FEWEST, MOST = 0.1, 40  # the picture shows detections from this score on, at most so many
LANE = 0.32  # height of a bar; a row has as many lanes as segments overlap in it, up to LANES
LANES = 4


def shown(detections: Detections) -> np.ndarray:
    """Indices of the detections that a picture shows: the best ones that score well, or the single best one."""
    order = np.argsort(-detections.scores, kind="stable")
    good = order[detections.scores[order] >= FEWEST][:MOST]
    return good if len(good) else order[:1]


def assign_lanes(segments: np.ndarray) -> list[int | None]:
    """The first lane in which each segment `[N, 2]` overlaps none before it; None if all `LANES` are taken there."""
    taken: list[list[np.ndarray]] = [[] for _ in range(LANES)]
    lanes: list[int | None] = []
    for segment in segments:
        free = (
            lane
            for lane, others in enumerate(taken)
            if all(segment[1] <= other[0] or segment[0] >= other[1] for other in others)
        )
        lanes.append(lane := next(free, None))
        if lane is not None:
            taken[lane].append(segment)
    return lanes


def thumbnails(path: Path) -> list[np.ndarray]:
    """Frames `[h, w, 3]` uint8 at evenly spaced times."""
    reader = open_video(path)
    indices = ((np.arange(THUMBNAILS) + 0.5) * reader.frame_count / THUMBNAILS).astype(int)
    return list(frames_at(reader, indices, lambda frames: resize_short_side(frames, THUMBNAIL_SIDE)))


def draw_timeline(
    output: Path,
    detections: Detections,
    classes: Sequence[str],
    duration: float,
    images: Sequence[np.ndarray],
    title: str,
    truth: tuple[np.ndarray, np.ndarray] | None = None,
) -> None:
    """Writes the picture as PNG.

    Args:
      output: the file.
      detections: segments in seconds.
      classes: class names.
      duration: of the video, seconds.
      images: thumbnails, evenly spaced in time.
      title: what stands above.
      truth: annotated segments `[G, 2]` in seconds and labels `[G]`, drawn as a line above each class, if known.
    """
    chosen = shown(detections)
    annotated = set(truth[1].tolist()) if truth else set()
    present = sorted(set(detections.labels[chosen].tolist()) | annotated)
    figure = Figure(figsize=(12, 9), layout="constrained")
    strip, axes = figure.subplots(2, 1)
    height, width = images[0].shape[:2]
    for number, image in enumerate(images):
        strip.imshow(image, extent=(number * width, (number + 0.96) * width, 0, height))
    strip.set_xlim(0, len(images) * width)
    strip.set_ylim(0, height)
    strip.set_axis_off()
    strip.set_title(title, parse_math=False)

    colours = matplotlib.colormaps["viridis_r"]
    top, centres = 0.0, []
    for label in present:
        if truth:
            for start, end in truth[0][truth[1] == label]:
                axes.plot([start, end], [top + 0.1] * 2, color="crimson", linewidth=3, solid_capstyle="butt")
        members = chosen[detections.labels[chosen] == label]
        lanes = assign_lanes(detections.segments[members])
        for index, lane in zip(members, lanes, strict=True):
            if lane is None:
                continue
            (start, end), score = detections.segments[index], float(detections.scores[index])
            middle = top + 0.2 + (lane + 0.5) * LANE
            axes.barh(middle, end - start, left=start, height=0.9 * LANE, color=colours(score))
            if end - start > duration / 30:
                ink = "white" if score > 0.5 else "black"
                axes.text((start + end) / 2, middle, f"{score:.2f}", ha="center", va="center", fontsize=7, color=ink)
        rows = 1 + max((lane for lane in lanes if lane is not None), default=0)
        centres.append(top + 0.2 + rows * LANE / 2)
        top += 0.35 + rows * LANE
        axes.axhline(top, color="lightgrey", linewidth=0.8)
    if truth:
        axes.plot([], [], color="crimson", linewidth=3, label="annotated")
        figure.legend(loc="upper left", fontsize=8)
    axes.set_yticks(centres, [classes[label] for label in present], parse_math=False)
    axes.set_ylim(max(top, 0.5), 0)
    axes.set_xlim(0, duration)
    axes.set_xlabel("seconds")
    figure.colorbar(matplotlib.cm.ScalarMappable(Normalize(0, 1), colours), ax=[strip, axes], label="score", pad=0.01)
    # The strip takes the height its pictures need, the rows what they hold.
    strip_height, rows_height = 11 * height / (len(images) * width), 0.8 * max(top, 0.5)
    axes.get_subplotspec().get_gridspec().set_height_ratios([strip_height, rows_height])
    figure.set_size_inches(12, strip_height + rows_height + 1)
    figure.savefig(output, dpi=110)
