"""Conversion of detections in arrays to named ones."""

from adatad_jax.postprocessing.detections import Detection, Detections, named


def test_named_by_falling_score_and_equal_ones_in_their_order() -> None:
    found = Detections([[0, 1], [2, 3.5], [4, 5], [6, 7]], [0.2, 0.9, 0.2, 0.5], [1, 0, 0, 1])
    assert named(found, ("jump", "run")) == [
        Detection(2.0, 3.5, "jump", 0.9),
        Detection(6.0, 7.0, "run", 0.5),
        Detection(0.0, 1.0, "run", 0.2),
        Detection(4.0, 5.0, "jump", 0.2),
    ]
    assert {type(value) for value in named(found, ("jump", "run"))[0]} == {float, str}
    assert named(Detections([], [], []), ()) == []
