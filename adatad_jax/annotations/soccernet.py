"""SoccerNet's labels of a match (Labels-v2.json): point events in two halves, each with a video of its own."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from adatad_jax.annotations.records import Found, finite_number
from adatad_jax.annotations.source import Source
from adatad_jax.annotations.times import parse_seconds
from adatad_jax.video.names import EXTENSIONS

_GAME_TIME = re.compile(r"(?P<half>\d+)\s*-\s*(?P<time>\d+:\d\d(?:[.,]\d+)?)")
# What SoccerNet calls the video of half 1 in the folder of its match.
VIDEOS = ("1_224p", "1_720p", "1_HQ", "1")


def fits(source: Source) -> bool:
    """Tells whether the file is an object with a list of events that have a "gameTime"."""
    content = source.json
    events = content.get("annotations") if isinstance(content, dict) else None
    return (
        isinstance(events, list)
        and bool(events)
        and any(isinstance(event, dict) and "gameTime" in event for event in events)
    )


def read(source: Source, found: Found) -> None:
    """Reads the events, all of them points.

    The time is "position" in milliseconds, or else that of "gameTime", in whole seconds. The video of half 1 is called
    MATCH_1; a file 1_224p, 1_720p, 1_HQ or 1 will do, as SoccerNet names them in the match's folder.
    """
    match = _match(str(source.json.get("UrlLocal") or "")) or source.path.parent.name
    for number, event in enumerate(source.json["annotations"], 1):
        where = f"event {number}"
        time = _GAME_TIME.fullmatch(str(event.get("gameTime", "")).strip()) if isinstance(event, dict) else None
        if time is None:
            text = str(event.get("gameTime") if isinstance(event, dict) else event)[:80]
            found.wrong(f'{where}: "gameTime" is "{text}", expected HALF - MM:SS')
            continue
        video = f"{match}_{time['half']}"
        found.aliases[video] = tuple(name.replace("1", time["half"], 1) for name in VIDEOS)
        seconds = _seconds(event.get("position"), time["time"])
        found.add(where, video, seconds, seconds, str(event.get("label") or ""))


def _match(address: str) -> str:
    """Returns the folder of a match, from the path in the file; a video at its end is left out."""
    path = PurePosixPath(address.replace("\\", "/"))
    return path.parent.name if path.suffix.lower() in EXTENSIONS else path.name


def _seconds(position: Any, time: str) -> float | str | None:
    if position is None:
        return parse_seconds(time)
    milliseconds = finite_number(position)
    return str(position) if milliseconds is None else milliseconds / 1000
