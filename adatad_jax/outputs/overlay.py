"""The overlay of an annotated video: the active detections at top left, a bar of all detections along the bottom."""

import colorsys
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from adatad_jax.outputs.text import drawable, shortened
from adatad_jax.postprocessing.detections import Detection

Images = NDArray[np.uint8]
Colour = tuple[int, int, int]

LONGEST_NAME = 28  # characters
BOX, TEXT, TRACK, PLAYHEAD = (16, 16, 16), (255, 255, 255), (40, 40, 40), (255, 255, 255)
OPACITY = 0.72  # of the box behind the text
TRACKS = 6  # most rows of the bar; further classes share them


class Overlay:
    """Draws into the frames of one video. Whatever does not change from frame to frame is drawn once.

    Args:
      detections: the detections to draw, best first; start and end in seconds.
      times: `[T]` seconds at which each frame appears, on the clock of the detections, ascending.
      ends: `[T]` seconds at which each frame disappears.
      size: height and width of the frames, pixels.
    """

    def __init__(
        self,
        detections: Sequence[Detection],
        times: NDArray[np.float64],
        ends: NDArray[np.float64],
        size: tuple[int, int],
    ) -> None:
        self._height, self._width = size
        self._times, self._until = times, ends
        spans = np.array([detection[:2] for detection in detections], np.float64).reshape(-1, 2)
        self._starts, self._ends = spans.T
        classes = list(dict.fromkeys(detection.label for detection in detections))
        self._colours = [_colour(classes.index(detection.label)) for detection in detections]
        names, path = drawable([shortened(detection.label, LONGEST_NAME) for detection in detections])
        self._font = ImageFont.truetype(str(path), max(10, round(min(size) / 24)))
        scores = [f"{100 * detection.score:.0f}%" for detection in detections]
        self._lines = list(zip(names, scores, strict=True))
        self._bar = self._draw_bar([classes.index(detection.label) for detection in detections], len(classes))
        self._box = lru_cache(maxsize=8)(self._draw_box)  # few are needed: time only moves forward

    def active(self, index: int) -> tuple[int, ...]:
        """Returns the positions of the detections that are active during any part of frame `index`."""
        on = (self._starts < self._until[index]) & (self._ends > self._times[index])
        return tuple(np.flatnonzero(on).tolist())

    def draw(self, frame: Images, index: int) -> None:
        """Draws into frame `index`, `[H, W, 3]` uint8 RGB, in place."""
        if active := self.active(index):
            solid, clear = self._box(active)
            corner = frame[: solid.shape[0], : solid.shape[1]]
            corner[:] = (corner * clear + solid).astype(np.uint8)
        frame[-len(self._bar) :] = self._bar
        played = (self._times[index] - self._times[0]) / (self._until[-1] - self._times[0])
        thickness = max(1, round(self._width / 320))
        left = min(int(played * self._width), self._width - thickness)
        frame[-len(self._bar) :, left : left + thickness] = PLAYHEAD

    def _draw_bar(self, rows: Sequence[int], classes: int) -> Images:
        """Draws the bar of the whole video: one row per class, better detections over worse ones."""
        tracks = min(max(classes, 1), TRACKS)
        height = max(2, round(self._height / 120))
        bar = np.full((min(tracks * height, self._height), self._width, 3), TRACK, np.uint8)
        first, last = self._times[0], self._until[-1]
        left = np.clip(np.floor((self._starts - first) / (last - first) * self._width), 0, self._width - 1)
        right = np.clip(np.ceil((self._ends - first) / (last - first) * self._width), left + 1, self._width)
        for place in reversed(range(len(rows))):
            top = rows[place] % tracks * height
            bar[top : top + height, int(left[place]) : int(right[place])] = self._colours[place]
        return bar

    def _draw_box(self, active: tuple[int, ...]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Returns what to add to the frame's top left corner, `[h, w, 3]`, after multiplying it by a `[h, w, 1]`."""
        ascent, descent = self._font.getmetrics()
        pad = max(2, ascent // 4)
        line = ascent + descent + pad
        room = max(1, int((0.6 * self._height - pad) // line))
        shown = active if len(active) <= room else active[: max(1, room - 1)]
        swatch = ascent
        rows = [
            (self._fit(*self._lines[place], self._width - swatch - 4 * pad), self._colours[place]) for place in shown
        ]
        if len(shown) < len(active) and room > 1:
            rows.append((f"and {len(active) - len(shown)} more", BOX))
        width = max(self._font.getlength(text) for text, _ in rows) + swatch + 4 * pad
        size = min(int(np.ceil(width)), self._width), min(len(rows) * line + pad, self._height)
        box = Image.new("RGBA", size, (*BOX, round(255 * OPACITY)))
        draw = ImageDraw.Draw(box)
        for number, (text, colour) in enumerate(rows):
            top = pad + number * line
            draw.rectangle((pad, top + descent, pad + swatch - 1, top + descent + swatch - 1), fill=colour)
            draw.text((swatch + 2 * pad, top), text, font=self._font, fill=TEXT)
        drawn = np.asarray(box, np.float32)
        opacity = drawn[..., 3:] / 255
        return drawn[..., :3] * opacity + 0.5, 1 - opacity

    def _fit(self, name: str, score: str, width: float) -> str:
        """Returns the name and score, the name shortened until both fit, or the score alone if no name fits."""
        for length in range(len(name), 0, -1):
            text = f"{shortened(name, length)} {score}"
            if self._font.getlength(text) <= width:
                return text
        return score


def _colour(number: int) -> Colour:
    """Returns a class's colour: hues a golden section apart stay distinct for the most classes."""
    red, green, blue = colorsys.hsv_to_rgb((0.58 + number * 0.618034) % 1, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)
