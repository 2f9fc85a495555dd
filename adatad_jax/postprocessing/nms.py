"""Non-maximum suppression of scored segments in one dimension: soft-NMS, hard NMS, and segment voting.

All arithmetic is float32, as in the release, so that ties of overlaps or scores resolve alike. Segments may be in any
unit (seconds, grid positions); only `t2` depends on it.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, assert_never

import numpy as np

Array = np.ndarray
SoftNmsMethod = Literal["linear", "gaussian", "improved_gaussian", "hard"]

_LENGTH_EPSILON = np.float32(1e-6)  # keeps the overlap of two empty segments at 0 instead of 0/0
_VOTING_ROWS = 256  # kept segments that are voted on at once, which limits memory to this many rows of M overlaps


@dataclass(frozen=True)
class NmsSettings:
    """Describes how the candidates of one video (or window) are reduced.

    Attributes:
      use_soft_nms: soft-NMS (scores decay, gaussian), else hard NMS (overlapping candidates are removed).
      sigma: width of the decay in soft-NMS, above 0.
      iou_threshold: tIoU from which hard NMS removes a candidate, in [0, 1].
      min_score: soft-NMS drops scores that decay below it, hard NMS those not above it beforehand; 0 keeps every
        probability.
      max_seg_num: most segments per class, and again over all classes.
      multiclass: NMS within each class, else over all candidates whatever their class.
      voting_thresh: tIoU from which candidates vote (`vote_segments`), in [0, 1]; 0 disables voting. It is used only
        without `multiclass` (release rule).
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
    """Takes the best segment again and again, and lowers the scores of those that overlap it (soft-NMS; release rules).

    With o the tIoU with the segment just taken, the scores of the others are multiplied by

    * linear: 1 - o where o >= iou_threshold;
    * gaussian: exp(-o^2 / sigma);
    * improved_gaussian: exp(-o^2 / sigma) where o >= t1 + t2 * length, the length of the segment just taken in the
      segments' unit;
    * hard: 0 where o >= iou_threshold.

    Then segments with a score below `min_score` are dropped. The first segment taken is never dropped.

    Args:
      segments: [M, 2] float32, start and end.
      scores: [M] float32.
      method: which of the decays above is used.
      iou_threshold: used by `linear` and `hard`.
      sigma: used by `gaussian` and `improved_gaussian`, above 0.
      min_score: lowest score that is kept.
      t1: used by `improved_gaussian`.
      t2: used by `improved_gaussian`, per unit of the segments.
      max_num: most segments to take. Scores never rise, so the result is a prefix of the one without a limit.

    Returns:
      Indices [N] int64 into the input in the order taken, and their decayed scores [N] float32, never rising.
    """
    table = _candidate_table(segments, scores)
    decay = partial(_decay_factors, method, iou_threshold, sigma, t1, t2)
    can_drop = min_score > 0 or "gaussian" not in method or not _stays_nonnegative(table)
    steps = deque(_take_by_score(table, decay, min_score=min_score if can_drop else None, max_num=max_num), maxlen=1)
    taken = steps[0] if steps else 0
    return table[4, :taken].view(np.int32).astype(np.int64), table[3, :taken].copy()


def _candidate_table(segments: Array, scores: Array) -> Array:
    """Returns a table [5, M] float32 with one column per candidate, so that a candidate moves in one copy.

    The rows are its start (negated, so that both ends are clipped by the same operation), its end, its length, its
    score (which decays in place) and the bits of its index.
    """
    start, end = np.asarray(segments, np.float32).reshape(-1, 2).T
    bits = np.arange(len(scores), dtype=np.int32).view(np.float32)
    return np.stack([-start, end, end - start + _LENGTH_EPSILON, np.asarray(scores, np.float32), bits])


def _stays_nonnegative(table: Array) -> bool:
    """Checks that the scores are at least 0 and that gaussian decay, with factors sure to be in [0, 1], keeps them so.

    If `min_score` is not above 0, no score can then fall below it, and the search for dropped candidates is skipped.
    """
    starts, ends, _, scores, _ = table
    return bool(np.isfinite(table[:4]).all() and (ends >= -starts).all() and (scores >= 0).all())


def _take_by_score(
    table: Array, decay: Callable[[Array, Array], Array], *, min_score: float | None, max_num: int | None
) -> Iterator[int]:
    """Moves the candidates taken to the front of the table, in the order taken and with their decayed scores.

    One is taken at a time, when it is asked for.

    Args:
      table: the candidates, as from `_candidate_table`; changed in place.
      decay: returns the factors of the other candidates' scores, given the column just taken and their tIoU with it,
        which it may overwrite.
      min_score: lowest score that is kept, or None if no score can fall below it.
      max_num: most candidates to take, or None for all.

    Yields:
      How many candidates are taken.
    """
    count = table.shape[1]
    limit = count if max_num is None else min(max_num, count)
    starts, ends, lengths, decaying, _ = table
    # Buffers and zeros are allocated once. Zeros are an array because numpy clips by an array several times as fast as
    # by a number.
    buffers, zeros = np.empty((2, count), np.float32), np.zeros(count, np.float32)

    taken = 0
    while taken < min(limit, count):
        best = taken + int(decaying[taken:count].argmax())
        chosen = table[:, best].copy()
        # Equal scores are common after rounding, and the first of them is taken. So the order of the rest has to be the
        # release's, which swaps the candidate in front with the one taken.
        table[:, best] = table[:, taken]
        table[:, taken] = chosen
        taken += 1
        yield taken

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
        rest *= decay(chosen, overlap)

        if min_score is None:
            continue
        survives = rest >= min_score
        survivors = int(np.count_nonzero(survives))
        if survivors < len(rest):
            _close_gaps(table[:, others], survives, survivors)
            count = taken + survivors


def _decay_factors(
    method: SoftNmsMethod, iou_threshold: float, sigma: float, t1: float, t2: float, chosen: Array, overlap: Array
) -> Array:
    """Returns what the scores of the other candidates are multiplied by; it may overwrite `overlap`.

    The arguments are those of `soft_nms`, the column just taken, and the tIoU of the others with it.
    """
    if method == "gaussian":
        return _gaussian(overlap, sigma)
    if method == "improved_gaussian":
        acts = overlap >= t1 + t2 * (chosen[1] + chosen[0])
        return np.where(acts, _gaussian(overlap, sigma), 1)
    if method == "linear":
        return np.where(overlap >= iou_threshold, 1 - overlap, 1)
    if method == "hard":
        return overlap < iou_threshold
    assert_never(method)


def _close_gaps(rest: Array, survives: Array, survivors: int) -> None:
    """Moves the columns of surviving candidates to the front of `rest`, in place.

    The last survivors fill the places of dropped candidates, last first, which is again the release's order.
    """
    holes = np.flatnonzero(~survives[:survivors])
    fillers = survivors + np.flatnonzero(survives[survivors:])[::-1]
    rest[:, holes] = rest[:, fillers]


def _gaussian(overlap: Array, sigma: float) -> Array:
    """Computes exp(-overlap^2 / sigma) in place."""
    overlap *= overlap
    overlap /= -sigma
    result: Array = np.exp(overlap, out=overlap)
    return result


def hard_nms(
    segments: Array, scores: Array, *, iou_threshold: float, min_score: float = 0.0, max_num: int | None = None
) -> Array:
    """Keeps, by falling score, every segment whose tIoU with each better kept one is below `iou_threshold`.

    Args:
      segments: [M, 2] float32, start and end.
      scores: [M] float32; equal scores keep their order.
      iou_threshold: tIoU from which a segment is removed.
      min_score: if above 0, only segments that score above it are considered (release rule).
      max_num: most segments to keep.

    Returns:
      Indices [N] int64 into the input, best first.
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

    Unlike in NMS, the tIoU has no epsilon (release rule). A kept segment stays as it is if no candidate with a nonzero
    score overlaps it by `threshold`; an empty one is an example.

    Args:
      kept_segments: [N, 2] float32.
      segments: [M, 2] float32, the candidates before NMS.
      scores: [M] float32, their scores before NMS.
      threshold: tIoU from which a candidate votes.

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
    """Reduces the candidates of one video by NMS, voting and the limit over all classes.

    Args:
      segments: [M, 2] start and end, used as float32.
      scores: [M], used as float32.
      labels: [M] int.
      settings: how to reduce them.

    Returns:
      Segments [N, 2] float32, scores [N] float32 and labels [N], by falling score; equal scores are ordered by class,
      then as NMS orders them.
    """
    segments, scores = np.asarray(segments, np.float32).reshape(-1, 2), np.asarray(scores, np.float32)
    labels = np.asarray(labels)
    groups = (
        [np.flatnonzero(labels == k) for k in np.unique(labels)] if settings.multiclass else [np.arange(len(labels))]
    )
    # Scores never rise within a group, so what is best over all groups is known before any of them is reduced as a
    # whole: of 20 classes, a twentieth of the work. Equal scores stay in the order of the groups.
    picks = heapq.merge(*(_picks(segments, scores, group, settings) for group in groups), key=_falling)
    best = list(itertools.islice(picks, settings.max_seg_num))
    indices = np.array([pick.place for pick in best], np.int64)
    final_scores = np.array([pick.score for pick in best], np.float32)
    final_segments = segments[indices]
    if settings.voting_thresh > 0 and not settings.multiclass:
        final_segments = vote_segments(final_segments, segments, scores, settings.voting_thresh)
    return final_segments, final_scores, labels[indices]


class _Pick(NamedTuple):
    """A candidate that NMS keeps: its place among all candidates, and its score after decay."""

    place: int
    score: float


def _falling(pick: _Pick) -> float:
    return -pick.score


def _picks(segments: Array, scores: Array, group: Array, settings: NmsSettings) -> Iterator[_Pick]:
    """Yields what NMS keeps of the candidates `group`, by falling score, each when it is asked for."""
    if settings.use_soft_nms:
        table = _candidate_table(segments[group], scores[group])
        decay = partial(_decay_factors, "gaussian", 0.0, settings.sigma, 0.0, 0.0)
        least = settings.min_score if settings.min_score > 0 or not _stays_nonnegative(table) else None
        for taken in _take_by_score(table, decay, min_score=least, max_num=settings.max_seg_num):
            yield _Pick(int(group[table[4, taken - 1 : taken].view(np.int32)[0]]), float(table[3, taken - 1]))
        return
    picked = hard_nms(
        segments[group],
        scores[group],
        iou_threshold=settings.iou_threshold,
        min_score=settings.min_score,
        max_num=settings.max_seg_num,
    )
    yield from map(_Pick, group[picked].tolist(), scores[group[picked]].tolist())
