"""What came out on real clips: tables, with their spread over folds."""

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.real_clips.folds import FOLDS, classified, fold_of
from benchmarks.real_clips.footage import LABELS, RATE, Clip
from benchmarks.real_clips.trainings import FRAME, MASK_RATIO, PRETRAINED, RANDOM, Result
from benchmarks.results import spread


def report(results: Sequence[Result], clips: Sequence[Clip], intervals: Sequence[int]) -> str:
    """Returns what was done and what came out, as Markdown.

    Args:
      results: of at least one fold.
      clips: all.
      intervals: fold -> how many the held-out subject has.
    """
    parts = (about(results, clips), "\n".join(_classification(results, clips)), gain(results))
    return "\n\n".join([*parts, "\n".join(_detection(results, clips, intervals))])


def about(results: Sequence[Result], clips: Sequence[Clip]) -> str:
    """Returns what was done, as text."""
    folds = f"{len(results)} of {FOLDS} folds" if len(results) < FOLDS else f"{FOLDS} folds"
    return (
        f"VideoMAE of size tiny (width 64, 3 blocks) on {FRAME} px at {RATE} frames per second; {folds}. A fold holds "
        "out a quarter of UT-Interaction's sequences and one of GMDCSA24's subjects, from pre-training too, which "
        f"masks {100 * MASK_RATIO:.0f}% of the patches of the other videos and reads no labels. "
        f"{len(classified(clips))} clips of UT-Interaction are classified; all were brought to one rate and size, "
        "since both tell background from actions. What may still help is that background is of set 1 alone, and how "
        "near the people are (pointing is framed most narrowly). Models, data and trainings are small: the figures "
        "show that the course works, not how well VideoMAE does. Percent; mean over folds, and in brackets the least "
        "and the greatest."
    )


def _classification(results: Sequence[Result], clips: Sequence[Clip]) -> Iterator[str]:
    """Yields the table of classification."""
    yield f"| UT-Interaction, from | top-1 | mean recall | {' | '.join(LABELS)} |"
    yield f"|---|---|---|{'---|' * len(LABELS)}"
    for start in (PRETRAINED, RANDOM):
        found = [result.classified[start] for result in results]
        recalls = [
            np.mean([100 * one.recall[label] for one in found if label in one.recall] or np.nan) for label in LABELS
        ]
        cells = (
            start,
            spread([100 * one.top1 for one in found]),
            spread([100 * one.mean_recall for one in found]),
            *(f"{recall:.0f}" for recall in recalls),
        )
        yield f"| {' | '.join(cells)} |"
    shares = [100 * one_class_share(clips, result.fold) for result in results]
    yield f"| always one class | {spread(shares)} | {100 / len(LABELS):.1f} |{' |' * len(LABELS)}"


def one_class_share(clips: Sequence[Clip], fold: int) -> float:
    """Returns the share of a fold's test clips that have their most frequent label."""
    labels = [clip.label for clip in classified(clips) if fold_of(clip) == fold]
    return max(map(labels.count, LABELS)) / len(labels)


def gain(results: Sequence[Result]) -> str:
    """Returns what pre-training is worth, as text."""
    pairs = [(result.classified[PRETRAINED], result.classified[RANDOM]) for result in results]
    recalls = [100 * (one.mean_recall - other.mean_recall) for one, other in pairs]
    top1 = [100 * (one.top1 - other.top1) for one, other in pairs]
    above = sum(point > 0 for point in recalls)
    return (
        f"Pre-training against random weights, on the same folds: {spread(top1, signed=True)} points of top-1, "
        f"{spread(recalls, signed=True)} of mean recall, above on {above} of {len(results)} folds."
    )


def _detection(results: Sequence[Result], clips: Sequence[Clip], intervals: Sequence[int]) -> Iterator[str]:
    """Yields the table of detection."""
    yield "| GMDCSA24, held-out subject | videos | intervals | mAP@0.5 | average mAP |"
    yield "|---|---|---|---|---|"
    for result in results:
        videos = sum(not clip.label and fold_of(clip) == result.fold for clip in clips)
        scores = " | ".join(f"{100 * score:.1f}" for score in result.detected)
        yield f"| {result.fold + 1} | {videos} | {intervals[result.fold]} | {scores} |"
    means = [spread([100 * score for score in scores]) for scores in zip(*(r.detected for r in results), strict=True)]
    yield f"| mean | | | {' | '.join(means)} |"
