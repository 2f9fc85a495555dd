"""Fingerprints of training videos: they tell every change of what is learned, and nothing else."""

import dataclasses

import numpy as np

from adatad_jax.data.annotations import Video
from adatad_jax.data.clip_videos import ClipVideo
from adatad_jax.data.fingerprint import clip_fingerprints, compare, fingerprints
from adatad_jax.video.probe import Probe

VIDEO = Video("a", "training", 3.0, 90, np.array([[0.5, 1.0], [1.5, 2.0]]), ("jump", "dance"))


def altered(**fields: object) -> bool:
    video = dataclasses.replace(VIDEO, **fields)  # type: ignore[arg-type]
    return bool(compare(fingerprints({"a": VIDEO}), fingerprints({"a": video})).altered)


def test_segments_labels_and_lengths_count() -> None:
    assert altered(segments=np.array([[0.5, 1.0], [1.5, 2.001]]))
    assert altered(labels=("jump", "jump"))
    assert altered(labels=("jump",), segments=VIDEO.segments[:1])
    assert altered(duration=3.1)
    assert altered(frames=91)
    assert not altered(subset="train")
    assert not altered(duration=3.0 + 1e-9)  # measured again


def test_videos_that_come_go_and_change_are_told_apart() -> None:
    before = {"a": "1", "b": "2", "c": "3", "d": "4"}
    assert not compare(before, dict(before))
    found = compare(before, {"a": "1", "c": "5", "d": "4", "e": "6"})
    assert (found.added, found.gone, found.altered, found.reordered) == (("e",), ("b",), ("c",), False)
    found = compare(before, {"b": "2", "a": "1", "c": "3", "d": "4"})
    assert found == ((), (), (), True)


def test_frames_and_labels_of_clip_videos_count() -> None:
    def made(frames: int = 40, label: int = 0, classes: tuple[str, ...] = ("run", "jump"), fps: float = 25) -> str:
        (found,) = clip_fingerprints({"a": ClipVideo(None, Probe(frames, fps), label)}, classes).values()
        return found

    assert made() == made(label=1, classes=("swim", "run"))  # the name counts, not its place
    assert made() == made(fps=30)
    assert len({made(), made(frames=41), made(label=1), made(label=-1, classes=())}) == 4
