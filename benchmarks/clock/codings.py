"""How pictures are coded: encoders of PyAV with and without B-frames, in open and closed groups of pictures."""

from dataclasses import dataclass, field

FIELDS = "h264 in fields"  # made by `fields`, not by an encoder
GROUP = 12  # pictures from key frame to key frame

_X264 = "log-level=none:scenecut=0"
_X265 = "log-level=none:scenecut=0:pools=none:frame-threads=1"
_VPX = {"deadline": "realtime", "cpu-used": "8", "b": "600k"}
_OLD = {"b": "800k", "sc_threshold": "1000000000"}


@dataclass(frozen=True)
class Coding:
    """An encoder and its options.

    Attributes:
      encoder: its name in FFmpeg.
      options: its options.
      pixels: pixel format.
      size: height and width, pixels.
      b_frames: consecutive B-frames.
      rates: which frame rates the header can say: "any", "few" (those that MPEG lists), "small" (with a numerator of
        16 bits), "up to 240", or "29.97".
      keys_only: whether every picture is a key frame.
      open_groups: whether B-frames before a key frame refer to the group before it.
    """

    encoder: str
    options: dict[str, str] = field(default_factory=dict)
    pixels: str = "yuv420p"
    size: tuple[int, int] = (64, 64)
    b_frames: int = 0
    rates: str = "any"
    keys_only: bool = False
    open_groups: bool = False


CODINGS = {
    "h264": Coding("libx264", {"preset": "ultrafast", "x264-params": _X264}),
    "h264 with B-frames": Coding("libx264", {"preset": "ultrafast", "x264-params": _X264}, b_frames=2),
    "h264 in open groups": Coding(
        "libx264", {"preset": "ultrafast", "x264-params": f"{_X264}:open-gop=1"}, b_frames=3, open_groups=True
    ),
    "h264 with a B-pyramid": Coding(
        "libx264", {"preset": "veryfast", "x264-params": f"{_X264}:b-pyramid=normal:b-adapt=0"}, b_frames=3
    ),
    "h264 interlaced": Coding("libx264", {"preset": "veryfast", "x264-params": f"{_X264}:tff=1"}, b_frames=2),
    FIELDS: Coding("", rates="small", keys_only=True),
    "hevc": Coding("libx265", {"preset": "ultrafast", "x265-params": f"{_X265}:open-gop=0"}),
    "hevc with B-frames": Coding("libx265", {"preset": "ultrafast", "x265-params": f"{_X265}:open-gop=0"}, b_frames=3),
    "hevc in open groups": Coding(
        "libx265",
        {"preset": "ultrafast", "x265-params": f"{_X265}:open-gop=1"},
        b_frames=3,
        open_groups=True,
    ),
    "mpeg4": Coding("mpeg4", _OLD, rates="small"),
    "mpeg4 with B-frames": Coding("mpeg4", _OLD, b_frames=2, rates="small", open_groups=True),
    "mpeg2": Coding("mpeg2video", _OLD, rates="few"),
    "mpeg2 with B-frames": Coding("mpeg2video", _OLD, b_frames=2, rates="few", open_groups=True),
    "mpeg2 with B-frames in closed groups": Coding("mpeg2video", {**_OLD, "flags": "+cgop"}, b_frames=2, rates="few"),
    "mpeg2 interlaced": Coding(
        "mpeg2video", {**_OLD, "flags": "+ildct+ilme"}, b_frames=2, rates="few", open_groups=True
    ),
    "mpeg1": Coding("mpeg1video", _OLD, b_frames=2, rates="few", open_groups=True),
    "vp8": Coding("libvpx", _VPX),
    "vp8 with hidden frames": Coding(
        "libvpx", {"deadline": "good", "cpu-used": "5", "b": "600k", "auto-alt-ref": "1", "lag-in-frames": "12"}
    ),
    "vp9": Coding("libvpx-vp9", _VPX),
    "vp9 with hidden frames": Coding(
        "libvpx-vp9", {"deadline": "good", "cpu-used": "8", "b": "600k", "auto-alt-ref": "1", "lag-in-frames": "12"}
    ),
    "av1": Coding("libsvtav1", {"preset": "8", "crf": "20", "svtav1-params": "lp=1"}, rates="up to 240"),
    "mjpeg": Coding("mjpeg", pixels="yuvj420p", keys_only=True),
    "ffv1": Coding("ffv1", {"g": "1"}, keys_only=True),
    "prores": Coding("prores", pixels="yuv422p10le", keys_only=True),
    "huffyuv": Coding("huffyuv", pixels="yuv422p", keys_only=True),
    "qtrle": Coding("qtrle", pixels="rgb24"),
    "wmv1": Coding("wmv1", _OLD, rates="small"),
    "wmv2": Coding("wmv2", _OLD, rates="small"),
    "msmpeg4": Coding("msmpeg4", _OLD, rates="small"),
    "flv1": Coding("flv", _OLD, rates="small"),
    "h263": Coding("h263", _OLD, size=(96, 128), rates="29.97"),
    "gif": Coding("gif", pixels="gray", keys_only=False),
}
