"""Fingerprints of annotated videos: they tell every change of what is learned, and nothing else."""

import dataclasses

import numpy as np

from adatad_jax.data.annotations import Video
from adatad_jax.data.fingerprint import compare, fingerprints

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
