"""Hypothesis strategies for detections, and labels that tend to break files."""

from hypothesis import strategies as st

from adatad_jax.postprocessing.detections import Detection

ODD_LABELS = (
    "jump",
    "clean and jerk",
    "a/b\\Nc",
    "<i>tag</i> & --> {\\an8}",
    "two\r\nlines\n\nand more",
    "跳跃 😀\N{ZERO WIDTH JOINER}",
    'quoted "x", y',
    "nul\0 bell\a",
    "x" * 200,
    "\ud800",
    "",
)


def lists_of(labels: tuple[str, ...], most: int = 12) -> st.SearchStrategy[list[Detection]]:
    """Draws detections within 20 s on a grid of 1 ms, so that boundaries often meet or nearly meet; scores repeat."""
    instant = st.one_of(st.integers(0, 20), st.integers(0, 20_000).map(lambda ms: ms / 1000), st.just(5.003))
    detection = st.builds(
        lambda a, b, label, score: Detection(float(min(a, b)), float(max(a, b)), label, score / 20),
        instant,
        instant,
        st.sampled_from(labels),
        st.integers(0, 20),
    )
    return st.lists(detection, max_size=most)
