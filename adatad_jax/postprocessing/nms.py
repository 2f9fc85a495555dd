"""Non-maximum suppression of scored segments in one dimension: soft, hard, and segment voting.

All arithmetic is float32, as in the release, so that segments whose overlaps or scores tie resolve alike. Segments may
be in any unit (seconds, grid positions); the unit matters only to `t2`.
"""

from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np

Array = np.ndarray
SoftNmsMethod = Literal["linear", "gaussian", "improved_gaussian", "hard"]

_LENGTH_EPSILON = np.float32(1e-6)  # keeps the overlap of two empty segments at 0 instead of 0/0
_VOTING_ROWS = 256  # kept segments voted on at once: bounds memory to this many rows of M overlaps


@dataclass(frozen=True)
class NmsSettings:
    """Describes how the candidates of one video (or window) are reduced.

    Attributes:
      use_soft_nms: soft-NMS (scores decay, gaussian) or hard NMS (overlapping candidates go).
      sigma: of the decay in soft-NMS, above 0.
      iou_threshold: overlap from which hard NMS removes, in [0, 1].
      min_score: soft-NMS drops what decays below it, hard NMS what is not above it beforehand; 0 keeps every
        probability.
      max_seg_num: the most segments per class, and again over all classes.
      multiclass: NMS within each class, or over all candidates whatever their class.
      voting_thresh: overlap from which candidates vote (`vote_segments`), in [0, 1]; 0 is no voting. Release rule: only
        without `multiclass`, the value is not used otherwise.
    """

    use_soft_nms: bool
    sigma: float
    iou_threshold: float
    min_score: float
    max_seg_num: int
    multiclass: bool
    voting_thresh: float


def soft_nms(
    segments: Array,
    scores: Array,
    *,
    method: SoftNmsMethod,
    iou_threshold: float = 0.0,
    sigma: float = 0.5,
    min_score: float = 0.0,
    t1: float = 0.0,
    t2: float = 0.0,
    max_num: int | None = None,
) -> tuple[Array, Array]:
    """Repeatedly takes the best segment and lowers the scores of those that overlap it (Soft-NMS; release rules).

    With o the overlap (tIoU) with the segment just taken, the others' scores are multiplied by

    * linear: 1 - o where o >= iou_threshold;
    * gaussian: exp(-o^2 / sigma);
    * improved_gaussian: the same where o >= t1 + t2 * length of the segment just taken, in the segments' unit;
    * hard: 0 where o >= iou_threshold;

    then scores below `min_score` are dropped (the first segment taken never is).

    Args:
      segments: [M, 2] float32, start and end.
      scores: [M] float32.
      max_num: stop after so many; scores never rise, so the result is a prefix of the one without a limit.

    Returns:
      indices [N] int64 into the input in the order taken, and their decayed scores [N] float32, never rising.
    """
    count = len(scores)
    limit = count if max_num is None else min(max_num, count)
    start, end = np.asarray(segments, np.float32).reshape(-1, 2).T
    # One row each, so that a candidate moves as one column: the start, negated so that both ends are limited alike, the
    # end, the length, the score, which decays in place, and the bits of the index.
    bits = np.arange(count, dtype=np.int32).view(np.float32)
    table = np.stack([-start, end, end - start + _LENGTH_EPSILON, np.asarray(scores, np.float32), bits])
    # Where a decay is sure to be in [0, 1], no score of at least 0 falls below it, and none need be looked for.
    usual = np.isfinite(table[:4]).all() and (end >= start).all() and (table[3] >= 0).all()
    can_drop = min_score > 0 or "gaussian" not in method or not usual
    starts, ends, lengths, decaying, _ = table
    # Reused, as are the zeros: numpy limits by an array several times as fast as by a number.
    buffers, zeros = np.empty((2, count), np.float32), np.zeros(count, np.float32)

    taken = 0
    while taken < min(limit, count):
        best = taken + int(decaying[taken:count].argmax())
        chosen = table[:, best].copy()
        # Equal scores are common after rounding, and the first of them is taken: the order of the rest has to be the
        # release's, which swaps the candidate in front with the one taken.
        table[:, best] = table[:, taken]
        table[:, taken] = chosen
        taken += 1

        others = slice(taken, count)
        rest, overlap, union = decaying[others], buffers[0, others], buffers[1, others]
        overlap.fill(chosen[0])
        np.minimum(starts[others], overlap, out=overlap)
        union.fill(chosen[1])
        np.minimum(ends[others], union, out=union)
        overlap += union
        np.maximum(overlap, zeros[others], out=overlap)
        np.add(lengths[others], chosen[2], out=union)
        union -= overlap
        overlap /= union
        if method == "gaussian":
            rest *= _gaussian(overlap, sigma)
        elif method == "improved_gaussian":
            acts = overlap >= t1 + t2 * (chosen[1] + chosen[0])
            rest *= np.where(acts, _gaussian(overlap, sigma), 1)
        elif method == "linear":
            rest *= np.where(overlap >= iou_threshold, 1 - overlap, 1)
        elif method == "hard":
            rest *= overlap < iou_threshold
        else:
            assert_never(method)

        if not can_drop:
            continue
        survives = rest >= min_score
        survivors = int(np.count_nonzero(survives))
        if survivors < len(rest):
            # Dropped candidates are replaced by the last survivors, last first: again the release's order.
            holes = taken + np.flatnonzero(~survives[:survivors])
            fillers = taken + survivors + np.flatnonzero(survives[survivors:])[::-1]
            table[:, holes] = table[:, fillers]
            count = taken + survivors
    return table[4, :taken].view(np.int32).astype(np.int64), decaying[:taken].copy()


def _gaussian(overlap: Array, sigma: float) -> Array:
    """In place."""
    overlap *= overlap
    overlap /= -sigma
    return np.exp(overlap, out=overlap)


def hard_nms(
    segments: Array, scores: Array, *, iou_threshold: float, min_score: float = 0.0, max_num: int | None = None
) -> Array:
    """Keeps, by falling score, every segment whose overlap with each better kept one is below `iou_threshold`.

    Args:
      segments: [M, 2] float32.
      scores: [M] float32; equal scores keep their order.
      min_score: if above 0, only scores above it enter (release rule).
      max_num: stop after so many.

    Returns:
      indices [N] int64 into the input, best first.
    """
    segments, scores = np.asarray(segments, np.float32).reshape(-1, 2), np.asarray(scores, np.float32)
    order = np.argsort(-scores, kind="stable")
    if min_score > 0:
        order = order[scores[order] > min_score]
    start, end = segments.T
    length = end - start + _LENGTH_EPSILON

    kept: list[int] = []
    while order.size and (max_num is None or len(kept) < max_num):
        best, rest = order[0], order[1:]
        kept.append(best)
        inter = np.maximum(np.minimum(end[rest], end[best]) - np.maximum(start[rest], start[best]), 0)
        order = rest[inter / (length[best] + length[rest] - inter) < iou_threshold]
    return np.array(kept, np.int64)


def vote_segments(kept_segments: Array, segments: Array, scores: Array, threshold: float) -> Array:
    """Replaces each kept segment by the score-weighted mean of all candidates that overlap it enough (ActionFormer).

    The overlap has no epsilon here (release rule). A kept segment that no candidate with a score overlaps by
    `threshold`, for example an empty one, stays as it is.

    Args:
      kept_segments: [N, 2] float32.
      segments: [M, 2] float32, the candidates before NMS.
      scores: [M] float32, their scores before NMS.
      threshold: the tIoU from which a candidate votes.

    Returns:
      [N, 2] float32.
    """
    voted = np.array(kept_segments, np.float32).reshape(-1, 2)
    segments, scores = np.asarray(segments, np.float32).reshape(-1, 2), np.asarray(scores, np.float32)
    start, end = segments.T
    for first in range(0, len(voted), _VOTING_ROWS):
        block = voted[first : first + _VOTING_ROWS]
        block_start, block_end = block[:, :1], block[:, 1:]
        inter = np.maximum(np.minimum(block_end, end) - np.maximum(block_start, start), 0)
        union = (block_end - block_start) + (end - start) - inter
        overlap = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
        weights = np.where(overlap >= threshold, scores, np.float32(0))
        total = weights.sum(axis=1, keepdims=True)
        votes = np.divide(weights, total, out=weights, where=total != 0)
        block[:] = np.where(total != 0, votes @ segments, block)
    return voted


def nms_video(segments: Array, scores: Array, labels: Array, settings: NmsSettings) -> tuple[Array, Array, Array]:
    """The candidates of one video after NMS, voting and the cap over all classes, by falling score.

    Args:
      segments: [M, 2], scores: [M], labels: [M] int; used as float32.

    Returns:
      segments [N, 2] float32, scores [N] float32, labels [N]; equal scores keep the order of their class, then of NMS.
    """
    segments, scores = np.asarray(segments, np.float32).reshape(-1, 2), np.asarray(scores, np.float32)
    labels = np.asarray(labels)
    groups = (
        [np.flatnonzero(labels == k) for k in np.unique(labels)] if settings.multiclass else [np.arange(len(labels))]
    )

    kept: list[Array] = [np.empty(0, np.int64)]
    kept_scores: list[Array] = [np.empty(0, np.float32)]
    for group in groups:
        if settings.use_soft_nms:
            picked, picked_scores = soft_nms(
                segments[group],
                scores[group],
                method="gaussian",
                sigma=settings.sigma,
                min_score=settings.min_score,
                max_num=settings.max_seg_num,
            )
        else:
            picked = hard_nms(
                segments[group],
                scores[group],
                iou_threshold=settings.iou_threshold,
                min_score=settings.min_score,
                max_num=settings.max_seg_num,
            )
            picked_scores = scores[group[picked]]
        kept.append(group[picked])
        kept_scores.append(picked_scores)

    indices, final_scores = np.concatenate(kept), np.concatenate(kept_scores)
    order = np.argsort(-final_scores, kind="stable")[: settings.max_seg_num]
    indices, final_scores = indices[order], final_scores[order]
    final_segments = segments[indices]
    if settings.voting_thresh > 0 and not settings.multiclass:
        final_segments = vote_segments(final_segments, segments, scores, settings.voting_thresh)
    return final_segments, final_scores, labels[indices]
