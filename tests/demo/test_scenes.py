"""The properties of the demo's scenes that make them a task about time."""

from itertools import pairwise

import numpy as np
import pytest

from adatad_jax.demo import scenes
from adatad_jax.demo.scenes import KINDS, Scene, plan_scene, render

FPS, FRAMES = 25, 400


def scene(seed: int, frames: int = FRAMES, width: int = 96, height: int = 72) -> Scene:
    return plan_scene(np.random.default_rng(seed), width=width, height=height, frames=frames, fps=FPS)


def test_segments_are_ordered_apart_and_inside() -> None:
    for seed in range(40):
        plan = scene(seed)
        bounds = [0, *(bound for segment in plan.segments for bound in (segment.start, segment.end)), plan.frames]
        assert plan.segments
        assert all(later > earlier for earlier, later in pairwise(bounds))
        assert {segment.label for segment in plan.segments} <= set(KINDS)


def test_shortest_scene_has_a_segment_and_a_shorter_one_is_refused() -> None:
    assert all(scene(seed, frames=5 * FPS).segments for seed in range(100))
    with pytest.raises(ValueError, match=rf"\b{2 * FPS} frames\b.*\b{FPS} fps"):
        scene(0, frames=2 * FPS)


def test_actor_never_jumps_and_stays_in_the_central_square() -> None:
    fastest = max(scenes.ACTION_SPEED[1], scenes.ACTOR_WANDER_SPEED[1])
    for seed in range(40):
        centres = scene(seed).shapes[-1].centres
        assert centres.shape == (FRAMES, 2)
        assert np.linalg.norm(np.diff(centres, axis=0), axis=1).max() <= fastest / FPS + 1e-9
        assert np.abs(centres).max() <= 0.5 - scenes.MARGIN + 1e-12


def test_actor_moves_outside_the_segments_too() -> None:
    for seed in range(20):
        plan = scene(seed)
        background = np.ones(FRAMES, bool)
        for segment in plan.segments:
            background[segment.start : segment.end] = False
        steps = np.linalg.norm(np.diff(plan.shapes[-1].centres, axis=0), axis=1)[background[1:] & background[:-1]]
        # A leg may turn between two frames, which shortens that one step.
        assert np.median(steps) >= scenes.ACTOR_WANDER_SPEED[0] / FPS - 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_are_flip_symmetric_and_fill_the_unit_square_or_one_axis(kind: str) -> None:
    length = np.linalg.norm(np.diff(np.concatenate([KINDS[kind], KINDS[kind][:1]]), axis=0), axis=1).sum()
    points = scenes.circuit(kind, np.linspace(0, length, 960, endpoint=False))
    for mirror in ((-1, 1), (1, -1)):
        nearest = np.linalg.norm(points[:, None] * mirror - points[None], axis=2).min(axis=1)
        assert nearest.max() < 0.02
    assert np.abs(points).max() == pytest.approx(1)


def test_appearance_place_and_length_are_drawn_alike_for_every_kind() -> None:
    """Compares what one frame or a segment's length shows: its mean per kind is within chance of the overall mean."""
    rows, labels = [], []
    for seed in range(400):
        plan = scene(seed)
        actor = plan.shapes[-1]
        for segment in plan.segments:
            place = actor.centres[segment.start - 1]
            rows.append((actor.radius, *actor.colour, *place, segment.end - segment.start))
            labels.append(segment.label)
    values, names = np.array(rows, float), np.array(labels)
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    for kind in KINDS:
        of_kind = values[names == kind]
        assert len(of_kind) > 0.7 * len(values) / len(KINDS)
        # 4.5 standard errors: over 4 kinds x 7 values, exceeded by chance once in thousands of seeds.
        assert (np.abs(of_kind.mean(axis=0)) < 4.5 / np.sqrt(len(of_kind))).all()


def test_frames_show_the_actor_and_repeat_for_a_seed() -> None:
    plan, again = scene(3, frames=5 * FPS), scene(3, frames=5 * FPS)
    frames = list(render(plan))
    assert len(frames) == 5 * FPS
    assert all(np.array_equal(one, other) for one, other in zip(frames, render(again), strict=True))
    actor = plan.shapes[-1]
    for image, centre in zip(frames, actor.centres, strict=True):
        assert image.shape == (72, 96, 3)
        assert image.dtype == np.uint8
        column, row = np.round(centre * 72 + (47.5, 35.5)).astype(int)
        assert tuple(image[row, column]) == actor.colour  # in front, and inside every outline


def test_seeds_differ() -> None:
    assert not np.array_equal(scene(1).shapes[-1].centres, scene(2).shapes[-1].centres)
