"""EPIC-Kitchens actions, pairs of a verb and a noun, from the detections of a verb model and of a noun model.

The data set's evaluator measures an action as the pair "verb,noun": the mean average precision over the pairs that are
annotated, at tIoU 0.1 to 0.5. It takes one file of detections that have both.

The release fuses its two models at each point of the pyramid, before NMS: the segment is the mean of both segments, and
the score the square root of the product of both scores. Files of detections hold no points. Here, two detections are
taken for the same event if they overlap by a tIoU of at least `SAME_EVENT`, which is this project's own rule. Segment
and score are the release's. NMS has been applied to both files, and is not applied again. As in the release, at most
`MOST_ACTIONS` actions per video are kept, those of the highest scores.

The figures are therefore not those of a fusion at the points.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adatad_jax.errors import UserError, few
from adatad_jax.evaluation.ground_truth import segment_tiou
from adatad_jax.evaluation.results_forms import Parsed, ResultRow
from adatad_jax.evaluation.results_labels import numbers_of

SAME_EVENT = 0.5
MOST_ACTIONS = 30_000


def combine(verbs: Parsed, nouns: Parsed, known: Sequence[str], paths: tuple[Path, Path]) -> Parsed:
    """Pairs the detections of verbs and of nouns, by the rules in the module's docstring.

    Args:
      verbs: detections of verbs.
      nouns: detections of nouns.
      known: labels of the annotations. A pair is "verb,noun", or with a space between if the annotations have that.
      paths: the two files, for messages.

    Returns:
      The actions, of falling score in each video; videos of either file.

    Raises:
      UserError: a score is negative, or no verb and no noun overlap in any video.
    """
    for parsed, path in zip((verbs, nouns), paths, strict=True):
        if negative := [row for row in parsed.rows if row.score < 0]:
            raise UserError(
                f"{path}: {len(negative)} scores are negative (such as {negative[0].score:g}), and have no square "
                "root: an action's score is that of the product of two; expected scores of at least 0"
            )
    videos = list(dict.fromkeys((*verbs.videos, *nouns.videos)))
    of_verbs, of_nouns = _by_video(verbs.rows), _by_video(nouns.rows)
    labels = frozenset(known)
    rows = [row for video in videos for row in _pairs(of_verbs[video], of_nouns[video], labels)]
    if not rows:
        raise UserError(
            f"{paths[0]}, {paths[1]}: no verb and no noun overlap by a tIoU of {SAME_EVENT} or more in any of "
            f"{len(videos)} videos, so there is no action; check that both files are of the same videos: verbs in "
            f"{few(list(of_verbs))}, nouns in {few(list(of_nouns))}"
        )
    alone = [video for video in videos if bool(of_verbs[video]) != bool(of_nouns[video])]
    notes = [
        f"{len(rows)} actions from {len(verbs.rows)} verbs and {len(nouns.rows)} nouns, paired where they overlap by a "
        f"tIoU of {SAME_EVENT} or more; segments are means, scores square roots of products"
    ]
    if alone:
        notes.append(f"{len(alone)} videos have verbs or nouns alone, and no action: {few(alone)}")
    return Parsed(videos, rows, [], (*verbs.notes, *nouns.notes, *notes))


def _by_video(rows: Sequence[ResultRow]) -> defaultdict[str, list[ResultRow]]:
    own: defaultdict[str, list[ResultRow]] = defaultdict(list)
    for row in rows:
        own[row.video].append(row)
    return own


def _pairs(verbs: Sequence[ResultRow], nouns: Sequence[ResultRow], known: frozenset[str]) -> list[ResultRow]:
    """Returns the actions of one video, best first."""
    if not verbs or not nouns:
        return []
    first, second = (np.array([(row.start, row.end) for row in rows], np.float64) for rows in (verbs, nouns))
    scores = np.sqrt([row.score for row in verbs])[:, None] * np.sqrt([row.score for row in nouns])
    v, n = np.nonzero(segment_tiou(first, second) >= SAME_EVENT)
    best = np.argsort(-scores[v, n], kind="stable")[:MOST_ACTIONS]
    segments = (first[v[best]] + second[n[best]]) / 2
    return [
        ResultRow(verbs[i].video, start, end, _name(verbs[i], nouns[j], known), float(scores[i, j]))
        for i, j, (start, end) in zip(v[best].tolist(), n[best].tolist(), segments.tolist(), strict=True)
    ]


def _name(verb: ResultRow, noun: ResultRow, known: frozenset[str]) -> str:
    """Returns the label of an action: numbers without zeros in front, names as the annotations join them."""
    parts = [
        str(numbers[0]) if (numbers := numbers_of(row.label)) and len(numbers) == 1 else str(row.label)
        for row in (verb, noun)
    ]
    spoken = " ".join(parts)
    return spoken if spoken in known else ",".join(parts)
