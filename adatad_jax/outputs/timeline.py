"""A picture of a video's detections: thumbnails along the time axis, and one row of segments per class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FuncFormatter, MultipleLocator

from adatad_jax.files import whole_file
from adatad_jax.outputs.text import drawable, shortened
from adatad_jax.postprocessing.detections import Detection
from adatad_jax.video.decode import Filling, frames_at
from adatad_jax.video.limits import within
from adatad_jax.video.steady import open_steady
from adatad_jax.video.transforms import resize_short_side

Span = tuple[float, float, str]  # start and end in seconds, label

THUMBNAILS = 10
THUMBNAIL_SIDE = 96  # pixels
WIDTH, MOST_STRIP = 12.0, 3.5  # inches: width of the picture, greatest height of the strip of thumbnails
LANE = 0.3  # height of a lane; a row has as many lanes as segments overlap in it, up to LANES
LANES, ROWS = 4, 40
LONGEST_NAME, LONGEST_TITLE = 28, 100  # characters
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 36000)  # seconds between ticks
ANNOTATED = "#c8102e"
COLOURS = LinearSegmentedColormap.from_list("scores", ["#cfe3f3", "#6baed6", "#2171b5", "#08306b"])


def thumbnails(
    path: Path, time_limit: float = 60.0, fps: float | None = None, filling: Filling | None = None
) -> list[np.ndarray]:
    """Reads 10 frames at evenly spaced times of a video.

    Args:
      path: the video.
      time_limit: seconds that opening the video, or reading one frame, may take.
      fps, filling: as for `open_steady`.

    Returns:
      Frames `[H, W, 3]` uint8 RGB, short side 96 pixels.

    Raises:
      UserError: the video cannot be read, or opening it or reading a frame takes longer than `time_limit` seconds.
    """
    reader = within(time_limit, str(path), lambda: open_steady(path, fps, filling=filling))
    indices = ((np.arange(THUMBNAILS) + 0.5) * reader.frame_count / THUMBNAILS).astype(int)

    def read(index: int) -> np.ndarray:
        image: np.ndarray = frames_at(reader, [index], lambda frames: resize_short_side(frames, THUMBNAIL_SIDE))[0]
        return image

    return [within(time_limit, str(path), lambda index=index: read(index)) for index in indices.tolist()]  # type: ignore[misc]


def assign_lanes(segments: np.ndarray) -> list[int | None]:
    """Assigns segments `[N, 2]` to lanes: each to the first lane where it overlaps no earlier segment, else to None."""
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


def draw_timeline(
    output: Path,
    shown: Sequence[Detection],
    duration: float,
    images: Sequence[np.ndarray],
    title: str,
    truth: Sequence[Span] = (),
    damaged: Sequence[tuple[float, float]] = (),
    start: float = 0.0,
) -> None:
    """Writes the picture of a video, or of a stretch of one, as PNG.

    At most 40 classes get a row, annotated classes first, then by best score. Classes and detections without room are
    counted below the time axis.

    Args:
      output: the file to write.
      shown: the detections to draw, best first (`selection.to_show`).
      duration: length of the video or stretch, seconds.
      images: thumbnails `[H, W, 3]` uint8 RGB, evenly spaced in time.
      title: the title above the picture.
      truth: annotated segments, drawn as lines above the detections of their class.
      damaged: stretches of the video that were filled, in seconds; hatched.
      start: of the stretch, seconds from the first frame.

    Raises:
      UserError: the file cannot be written.
    """
    labels = list(dict.fromkeys([*(label for *_, label in truth), *(detection.label for detection in shown)]))
    rows = labels[:ROWS]
    (title, *names), font = drawable([shortened(title, LONGEST_TITLE), *(shortened(row, LONGEST_NAME) for row in rows)])
    figure = Figure(figsize=(WIDTH, 9), layout="constrained")
    strip, axes = figure.subplots(2, 1)
    strip_height = _draw_strip(strip, images, start, duration)
    strip.set_title(title, parse_math=False, font=font, fontsize=12)
    left_out = sum(detection.label not in rows for detection in shown)
    top, centres = 0.0, []
    for number, row in enumerate(rows):
        members = [detection for detection in shown if detection.label == row]
        spans = [(start, end) for start, end, label in truth if label == row]
        height, crowded_out = _draw_row(axes, top, members, spans, duration)
        if number % 2:
            axes.axhspan(top, top + height, color="0.96", linewidth=0, zorder=0)
        left_out += crowded_out
        centres.append(top + height / 2)
        top += height
    rows_height = 0.8 * max(top, 0.5)
    _name_rows(axes, centres, names, font, bottom=max(top, 0.5))
    _draw_time(axes, start, duration, damaged)
    no_room = [f"no room for {left_out} of {len(shown)} detections"] * (left_out > 0)
    _add_notes(axes, [*_notes(len(labels), bool(damaged)), *no_room])
    _draw_keys(figure, axes, has_truth=bool(truth), has_scores=bool(shown), height=rows_height)
    # The strip gets the height that its thumbnails need, the rows what their lanes need.
    axes.get_subplotspec().get_gridspec().set_height_ratios([strip_height, rows_height])
    figure.set_size_inches(WIDTH, strip_height + rows_height + 1)
    with whole_file(output) as partial:
        figure.savefig(partial, dpi=110, format="png")


def _name_rows(axes: Any, centres: Sequence[float], names: Sequence[str], font: Path, bottom: float) -> None:
    """Writes the names of rows beside them, or that there are none."""
    axes.set_yticks(centres, names, parse_math=False, font=FontProperties(fname=font, size=10))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(bottom, 0)
    if not names:
        axes.text(0.5, 0.5, "nothing found", transform=axes.transAxes, ha="center", va="center", color="0.4")


def _notes(classes: int, is_damaged: bool) -> list[str]:
    """Returns what a picture says about classes without a row, and about stretches that are damaged."""
    more = [f"{classes - ROWS} more classes"] * (classes > ROWS)
    return more + ["hatched: damaged, the last sound frame stands for it"] * is_damaged


def _add_notes(axes: Any, notes: Sequence[str]) -> None:
    """Writes notes below the time axis."""
    if notes:
        axes.set_xlabel(f"{axes.get_xlabel()}\n{'; '.join(notes)}")


def _draw_keys(figure: Figure, axes: Any, *, has_truth: bool, has_scores: bool, height: float) -> None:
    """Adds the keys to the colours: a legend for annotated segments, and a score bar beside rows of this height."""
    if has_truth:
        axes.plot([], [], color=ANNOTATED, linewidth=3, label="annotated")
        figure.legend(loc="upper left", fontsize=9, frameon=False)
    if has_scores:
        scale = figure.colorbar(
            ScalarMappable(Normalize(0, 1), COLOURS), ax=axes, pad=0.01, aspect=max(10, 12 * height)
        )
        scale.outline.set_visible(False)
        scale.set_label("score")


def _draw_strip(axes: Any, images: Sequence[np.ndarray], start: float, duration: float) -> float:
    """Draws each thumbnail around its time; returns the strip height, in inches, that keeps their aspect ratio."""
    height, width, _ = images[0].shape
    share = duration / len(images)
    wanted: float = 0.85 * WIDTH / len(images) * height / width
    shrink = min(1.0, MOST_STRIP / wanted)
    for number, image in enumerate(images):
        middle, half = start + (number + 0.5) * share, 0.48 * shrink * share
        axes.imshow(image, extent=(middle - half, middle + half, 0, 1), aspect="auto", interpolation="antialiased")
    axes.set_xlim(start, start + duration)
    axes.set_ylim(0, 1)
    axes.set_axis_off()
    return wanted * shrink


def _draw_row(
    axes: Any, top: float, members: Sequence[Detection], spans: Sequence[tuple[float, float]], duration: float
) -> tuple[float, int]:
    """Draws the segments of a class; returns the height of its row and the number of detections without room."""
    for start, end in spans:
        axes.plot([start, end], [top + 0.1] * 2, color=ANNOTATED, linewidth=3, solid_capstyle="butt")
    first = top + (0.2 if spans else 0.1)
    lanes = assign_lanes(np.array([member[:2] for member in members]).reshape(-1, 2))
    for (start, end, _, score), lane in zip(members, lanes, strict=True):
        if lane is None:
            continue
        middle = first + (lane + 0.5) * LANE
        width = max(end - start, duration / 2000)  # still visible on an axis of an hour
        axes.barh(middle, width, left=start, height=0.88 * LANE, color=COLOURS(score))
        if end - start > duration / 32:
            ink = "white" if score > 0.5 else "black"
            axes.text((start + end) / 2, middle, f"{score:.2f}", ha="center", va="center", fontsize=7, color=ink)
    taken = [lane for lane in lanes if lane is not None]
    return first - top + (1 + max(taken, default=0)) * LANE + 0.1, len(lanes) - len(taken)


def _draw_time(axes: Any, start: float, duration: float, damaged: Sequence[tuple[float, float]]) -> None:
    """Draws the time axis, and hatches the stretches that were filled, all in seconds."""
    axes.set_xlim(start, start + duration)
    for first, last in damaged:
        axes.axvspan(first, last, facecolor="none", edgecolor="0.55", hatch="///", linewidth=0, zorder=0.5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color="0.85", linewidth=0.6)
    axes.set_axisbelow(True)
    if start + duration < 60:
        axes.set_xlabel("seconds")
        return
    step = next((step for step in STEPS if duration / step <= 14), duration / 10)
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds)))
    axes.set_xlabel("hours : minutes : seconds" if start + duration >= 3600 else "minutes : seconds")


def clock(seconds: float) -> str:
    """Formats seconds as 1:05 or, from an hour on, 1:02:05."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
