"""Subtitles: exact times, no overlapping cues, and files that FFmpeg reads as intended."""

from itertools import pairwise
from pathlib import Path

import av
from hypothesis import example, given

from adatad_jax.outputs.subtitles import Cue, as_played, cut_into_cues, to_srt, to_vtt
from adatad_jax.postprocessing.detections import Detection
from tests.outputs.detections import ODD_LABELS, lists_of
from tests.outputs.test_annotated import write_clip

OVERLAPPING = [Detection(1.5, 4.0, "run & hide", 0.5), Detection(0.25, 3600.0015, "jump", 0.834)]


def test_an_example_of_both_formats() -> None:
    assert to_srt(OVERLAPPING) == (
        "1\n00:00:00,250 --> 00:00:01,500\njump 83%\n\n"
        "2\n00:00:01,500 --> 00:00:04,000\njump 83%\nrun & hide 50%\n\n"
        "3\n00:00:04,000 --> 01:00:00,002\njump 83%\n\n"
    )
    assert to_vtt(OVERLAPPING) == (
        "WEBVTT\n\n"
        "00:00:00.250 --> 00:00:01.500\njump 83%\n\n"
        "00:00:01.500 --> 00:00:04.000\njump 83%\nrun &amp; hide 50%\n\n"
        "00:00:04.000 --> 01:00:00.002\njump 83%\n\n"
    )


def test_no_detection_and_a_hundred_hours() -> None:
    assert (to_srt([]), to_vtt([])) == ("", "WEBVTT\n\n")
    assert "100:00:00,000 --> 123:00:00,500" in to_srt([Detection(360000, 442800.5, "late", 1.0)])


def test_a_label_that_goes_on_is_one_cue() -> None:
    first, second = Detection(0, 2, "run", 0.5), Detection(2, 3, "run", 0.5)
    weaker_inside = Detection(0.5, 1, "run", 0.2)
    assert cut_into_cues([first, second, weaker_inside]) == [Cue(0, 3000, ("run 50%",))]


@example([Detection(5.0, 9.0, "a", 0.5), Detection(5.003, 9.0, "b", 0.6)])
@given(lists_of(("a", "b", "c")))
def test_every_moment_shows_what_is_active(detections: list[Detection]) -> None:
    cues = cut_into_cues(detections)
    assert all(end - start >= 5 for start, end, _ in cues)
    assert all(before.end <= after.start for before, after in pairwise(cues))
    instants = sorted({round(1000 * value) for detection in detections for value in detection[:2]})
    for start, end in pairwise(instants):
        scores: dict[str, float] = {}
        for detection in detections:
            if round(1000 * detection.start) <= start and end <= round(1000 * detection.end):
                scores[detection.label] = max(detection.score, scores.get(detection.label, 0.0))
        shown = [cue.lines for cue in cues if cue.start <= start and end <= cue.end]
        if not scores or end - start < 5:
            # A cue that continues with the same lines may cover a span that is too short for its own cue.
            assert not shown or scores
            continue
        (lines,) = shown
        assert sorted(lines) == sorted(f"{label} {100 * score:.0f}%" for label, score in scores.items())
        drawn = [scores[line.split()[0]] for line in lines]
        assert drawn == sorted(drawn, reverse=True)


def test_ffmpeg_reads_back_odd_labels(tmp_path: Path) -> None:
    detections = [Detection(i, i + 1.5, label, 0.5) for i, label in enumerate(ODD_LABELS)]
    cues = cut_into_cues(detections)
    assert len(cues) == 2 * len(ODD_LABELS) - 1
    for name, text in (("odd.srt", to_srt(detections)), ("odd.vtt", to_vtt(detections))):
        path = tmp_path / name
        path.write_bytes(text.encode())
        with av.open(str(path)) as container:
            packets = [packet for packet in container.demux(container.streams.subtitles[0]) if packet.size]
            assert [(packet.pts, packet.pts + packet.duration) for packet in packets] == [cue[:2] for cue in cues]
            for packet, cue in zip(packets, cues, strict=True):
                (event,) = packet.decode()
                shown = event.ass.decode().split(",", 8)[8].split(r"\N")
                assert [_plain(line) for line in shown] == [_plain(line) for line in cue.lines]


def _plain(line: str) -> str:
    """Removes the differences between SubRip's lookalikes, FFmpeg's escapes for ASS, and the original characters."""
    line = line.replace("\\{{}", "(").replace("\\\N{WORD JOINER}", "/")
    return line.translate(str.maketrans("<>{}\\", "\u2039\u203a()/")).strip()


def test_a_player_counts_from_the_earliest_stream_and_at_the_rate_of_the_file(tmp_path: Path) -> None:
    """Has sound from 0 s on, and video from 1 s to 2.6 s at 25 frames per second, with one frame twice as long."""
    stamps = [1000 + 40 * tick for tick in range(40) if tick != 20]
    late = write_clip(tmp_path / "late.mkv", stamps, sound="aac")
    found = [Detection(0.0, 0.5, "jump", 0.9), Detection(1.0, 1.6, "dance", 0.5)]
    assert _times(as_played(found, late)) == [(1.0, 1.5), (2.0, 2.6)]
    # At 10 frames per second, frame 25 is shown at 2.5 s; in the file it is the frame of tick 26.
    assert _times(as_played([Detection(0.5, 2.5, "jump", 0.9)], late, 10.0)) == [(1.2, 2.04)]
    assert as_played([], late) == []

    shifted = write_clip(tmp_path / "shifted.mkv", range(5000, 6000, 40))
    assert _times(as_played(found[:1], shifted)) == [(0.0, 0.5)]


def _times(detections: list[Detection]) -> list[tuple[float, float]]:
    return [(round(d.start, 6), round(d.end, 6)) for d in detections]
