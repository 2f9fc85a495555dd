"""The folds: which sequences and which subject each holds out, and the files from which its trainings read that."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from adatad_jax.annotations.recognise import read_annotations
from adatad_jax.annotations.records import Options
from adatad_jax.files import whole_file, write_text
from adatad_jax.video.probe import probe
from benchmarks.real_clips.footage import BACKGROUND, GMDCSA, RATE, Clip

FOLDS = 4  # as many as GMDCSA24 has subjects
TRAINING, TEST = "training", "validation"
MOST_BACKGROUND = 2  # clips of background of a sequence that are classified; all are pre-trained on
# GMDCSA24's labels that every subject has; the ways of falling, which it writes in two ways, are one class.
ACTIONS = {
    "Sitting": "sitting",
    "Standing": "standing",
    "Walking": "walking",
    **{f"{fall} ({way})": "falling" for fall in ("Fall", "Falling") for way in ("FW", "BW", "SW")},
}
CLASSES = tuple(dict.fromkeys(ACTIONS.values()))


class Fold(NamedTuple):
    """What the trainings of a fold read.

    Attributes:
      number: from 0.
      folder: of all that belongs to it.
      videos: folder of the videos to pre-train on: all but those held out.
      labels: CSV of UT-Interaction's clips that are classified, with their subsets.
      annotations, classes: of GMDCSA24's videos, with their subsets.
    """

    number: int
    folder: Path
    videos: Path
    labels: Path
    annotations: Path
    classes: Path


def fold_of(clip: Clip) -> int:
    """Returns the fold that holds a clip out: sequences 1, 5, 9, ... and subject 1 are those of fold 0."""
    return (clip.group - 1) % FOLDS


def classified(clips: Sequence[Clip]) -> list[Clip]:
    """Returns UT-Interaction's clips, of background only the first few of a sequence: about as many as of the others.

    Args:
      clips: all, by name.
    """
    kept: list[Clip] = []
    for clip in clips:
        before = sum(one.label == clip.label and one.group == clip.group for one in kept)
        if clip.label and (clip.label != BACKGROUND or before < MOST_BACKGROUND):
            kept.append(clip)
    return kept


def subset_of(clip: Clip, number: int) -> str:
    """Returns the subset of a clip in a fold."""
    return TEST if fold_of(clip) == number else TRAINING


def make_fold(clips: Sequence[Clip], number: int, folder: Path, data: Path) -> Fold:
    """Writes what the trainings of a fold read.

    Args:
      clips: all, written.
      number: of the fold.
      folder: to write into.
      data: folder with the folder `GMDCSA`, for its intervals.

    Raises:
      UserError: the intervals cannot be read.
    """
    fold = Fold(
        number,
        folder,
        folder / "videos",
        folder / "ut_interaction.csv",
        folder / "gmdcsa24.json",
        folder / "classes.txt",
    )
    for clip in clips:
        if subset_of(clip, number) == TRAINING:
            target = fold.videos / clip.path.parent.name / clip.path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                with whole_file(target) as partial:  # a copy that was killed must not pass for the clip
                    shutil.copy(clip.path, partial)
    rows = [f"{clip.path.name},{clip.label},{subset_of(clip, number)}\n" for clip in classified(clips)]
    write_text(fold.labels, "".join(["video,label,subset\n", *rows]))
    write_text(fold.classes, "".join(f"{name}\n" for name in CLASSES))
    segments = read_segments(data / GMDCSA)
    database = {
        clip.path.stem: entry(clip.path, segments[clip.path.stem], subset_of(clip, number))
        for clip in clips
        if not clip.label
    }
    write_text(fold.annotations, json.dumps({"database": database}, indent=1) + "\n")
    return fold


def read_segments(folder: Path) -> dict[str, list[tuple[float, float, str]]]:
    """Reads GMDCSA24's intervals of the classes `CLASSES`.

    Args:
      folder: of its CSV files.

    Returns:
      video -> (start, end, class) of each, in seconds.
    """
    found: dict[str, list[tuple[float, float, str]]] = {}
    for row in read_annotations(folder, Options()).without_spoilt().rows:
        own = found.setdefault(Path(row.video).stem, [])
        if row.segment is not None and row.label in ACTIONS:
            own.append((*row.segment, ACTIONS[row.label]))
    return found


def entry(path: Path, segments: Sequence[tuple[float, float, str]], subset: str) -> dict[str, object]:
    """Returns a video's entry in an annotation file; intervals in whole seconds are cut at the end of the video."""
    frames = probe(path).frames
    duration = frames / RATE
    inside = [(start, min(end, duration), label) for start, end, label in segments if start < duration]
    return {
        "subset": subset,
        "duration": duration,
        "frame": frames,
        "annotations": [{"segment": [start, end], "label": label} for start, end, label in inside],
    }
