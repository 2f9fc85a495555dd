"""The containers that are written, with the codings each can hold, and how wrong stamps get into it."""

from dataclasses import dataclass

from benchmarks.clock.codings import FIELDS
from benchmarks.clock.mux import Muxer

H264 = ("h264", "h264 with B-frames", "h264 in open groups", "h264 with a B-pyramid", "h264 interlaced")
HEVC = ("hevc", "hevc with B-frames", "hevc in open groups")
MPEG4 = ("mpeg4", "mpeg4 with B-frames")
MPEG2 = ("mpeg2", "mpeg2 with B-frames", "mpeg2 with B-frames in closed groups", "mpeg2 interlaced")
VPX = ("vp8", "vp8 with hidden frames", "vp9", "vp9 with hidden frames")


@dataclass(frozen=True)
class Format:
    """A container.

    Attributes:
      suffix: of the files' names.
      muxer: writes it.
      codings: what it can hold.
      any_time: whether it holds stamps at any time; else pictures follow each other at the header's rate.
      stamped: whether stamps can be wrong.
      patch: which function of `patches` puts wrong stamps in; empty: the muxer takes them.
      sound: encoder of sound; empty: none.
    """

    suffix: str
    muxer: Muxer
    codings: tuple[str, ...]
    any_time: bool = True
    stamped: bool = True
    patch: str = ""
    sound: str = ""


_EXACT = {"video_track_timescale": "16000", "movie_timescale": "16000"}

FORMATS = {
    "mp4": Format(
        "mp4",
        Muxer("mp4", _EXACT),
        (*H264, *HEVC, *MPEG4, *MPEG2, "vp9", "av1", "mjpeg", FIELDS),
        patch="mp4",
        sound="aac",
    ),
    "fragmented mp4": Format(
        "mp4",
        Muxer("mp4", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
        (*H264, *HEVC, "vp9", "av1"),
    ),
    "mov": Format(
        "mov", Muxer("mov", _EXACT), (*H264[:3], *MPEG4, "mjpeg", "prores", "qtrle", FIELDS), patch="mp4", sound="aac"
    ),
    "3gp": Format("3gp", Muxer("3gp", _EXACT), ("h264", *MPEG4, "h263"), patch="mp4", sound="aac"),
    "mkv": Format(
        "mkv",
        Muxer("matroska", strict=False, joins_fields=True),
        (*H264, FIELDS, *HEVC, *MPEG4, *MPEG2, *VPX, "av1", "mjpeg", "ffv1"),
        sound="aac",
    ),
    "webm": Format("webm", Muxer("webm", strict=False), (*VPX, "av1"), sound="libopus"),
    "live webm": Format("webm", Muxer("webm", {"live": "1"}, strict=False), (*VPX, "av1"), sound="libopus"),
    "ts": Format(
        "ts", Muxer("mpegts", joins_fields=True), (*H264, FIELDS, *HEVC, *MPEG2, *MPEG4), patch="transport", sound="aac"
    ),
    "m2ts": Format(
        "MTS",
        Muxer("mpegts", {"mpegts_m2ts_mode": "1"}),
        (*H264, FIELDS, *MPEG2),
        patch="transport of camcorders",
        sound="aac",
    ),
    "mpg": Format("mpg", Muxer("mpeg"), ("mpeg1", *MPEG2), any_time=False, patch="program", sound="mp2"),
    "vob": Format("vob", Muxer("vob"), MPEG2, any_time=False, patch="program", sound="mp2"),
    "flv": Format("flv", Muxer("flv", strict=False), (*H264[:4], "flv1", "hevc"), patch="flash", sound="aac"),
    "wmv": Format("wmv", Muxer("asf"), ("wmv1", "wmv2", "msmpeg4"), patch="asf", sound="wmav2"),
    "asf": Format("asf", Muxer("asf"), ("mpeg4", "mjpeg"), patch="asf", sound="wmav2"),
    "gif": Format("gif", Muxer("gif"), ("gif",), stamped=False),
    "avi": Format(
        "avi",
        Muxer("avi"),
        (*H264[:4], *MPEG4, "mpeg2 with B-frames", "mjpeg", "msmpeg4", "huffyuv", "ffv1", "vp8"),
        any_time=False,
        stamped=False,
        sound="mp2",
    ),
    "mxf": Format("mxf", Muxer("mxf"), MPEG2, any_time=False, stamped=False),
    "ogv": Format("ogv", Muxer("ogg"), ("vp8",), any_time=False, stamped=False),
    "raw h264": Format("h264", Muxer("h264"), H264[:4], any_time=False, stamped=False),
    "raw mpeg2": Format("m2v", Muxer("mpeg2video"), MPEG2[:2], any_time=False, stamped=False),
}
ISO = ("mp4", "mov", "3gp")
MATROSKA = ("mkv", "webm", "live webm")
TRANSPORT = ("ts", "m2ts")
PROGRAM = ("mpg", "vob")
