"""A picture of a video's detections: thumbnails along time, and a row of segments per class."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from mpl_toolkits.axes_grid1 import make_axes_locatable

from adatad_jax.data.decode import frames_at, open_video
from adatad_jax.data.transforms import resize_short_side
from adatad_jax.evaluation.detections import Detections

THUMBNAILS = 10
THUMBNAIL_SIDE = 96  # pixels
FEWEST, MOST = 0.1, 40  # the picture shows detections from this score on, at most so many


def shown(detections: Detections) -> np.ndarray:
    """Indices of the detections that a picture shows: the best ones that score well, or the single best one."""
    order = np.argsort(-detections.scores, kind="stable")
    good = order[detections.scores[order] >= FEWEST][:MOST]
    return good if len(good) else order[:1]


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
      truth: annotated segments `[G, 2]` in seconds and labels `[G]`, drawn as a line under each class, if known.
    """
    chosen = shown(detections)
    present = sorted({int(k) for k in detections.labels[chosen]} | ({int(k) for k in truth[1]} if truth else set()))
    rows = {label: row for row, label in enumerate(present)}
    figure = Figure(figsize=(12, 2.6 + 0.5 * max(1, len(rows))), layout="constrained")
    strip, axes = figure.subplots(2, 1, height_ratios=[1.1, 0.6 + 0.45 * max(1, len(rows))])
    height, width = images[0].shape[:2]
    for number, image in enumerate(images):
        strip.imshow(image, extent=(number * width, (number + 0.94) * width, 0, height))
    strip.set_xlim(0, len(images) * width)
    strip.set_ylim(0, height)
    strip.set_axis_off()
    strip.set_title(title)

    colours = matplotlib.colormaps["viridis_r"]
    for index in chosen[::-1]:  # the best on top
        start, end = detections.segments[index]
        score = float(detections.scores[index])
        row = rows[int(detections.labels[index])]
        axes.barh(row, end - start, left=start, height=0.5, color=colours(score), edgecolor="white", linewidth=0.5)
        if end - start > duration / 40:
            ink = "white" if score > 0.5 else "black"
            axes.text((start + end) / 2, row, f"{score:.2f}", ha="center", va="center", fontsize=7, color=ink)
    if truth:
        for (start, end), label in zip(*truth, strict=True):
            axes.plot([start, end], [rows[int(label)] - 0.36] * 2, color="crimson", linewidth=3, solid_capstyle="butt")
        axes.plot([], [], color="crimson", linewidth=3, label="annotated")
        axes.legend(loc="upper left", fontsize=8)
    axes.set_yticks(range(len(rows)), [classes[label] for label in present])
    axes.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    axes.set_xlim(0, duration)
    axes.set_xlabel("seconds")
    axes.grid(axis="x", alpha=0.3)
    bar = make_axes_locatable(axes).append_axes("right", size="1.5%", pad=0.08)
    figure.colorbar(matplotlib.cm.ScalarMappable(Normalize(0, 1), colours), cax=bar, label="score")
    figure.savefig(output, dpi=110)
