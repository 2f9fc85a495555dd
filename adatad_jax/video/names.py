"""The files that belong to names of videos, and hints about names that are spelled differently."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from adatad_jax.errors import UserError
from adatad_jax.video.limits import within
from adatad_jax.video.probe import is_video
from adatad_jax.video.spelling import normal, shown

# What is taken for a video in a folder, without opening it: what cameras, recorders and editors write.
EXTENSIONS = (
    *(".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".wmv"),
    *(".mts", ".m2ts", ".m2t", ".tp", ".trp", ".tod", ".mod", ".vob", ".m2p", ".m2v", ".m1v", ".mpe", ".mpv"),
    *(".3gp", ".3gpp", ".3g2", ".3gp2", ".f4v", ".qt", ".mj2", ".mxf", ".gxf", ".dv", ".dif", ".dav", ".h264", ".hevc"),
    *(".ogv", ".ogm", ".mk3d", ".asf", ".wtv", ".dvr-ms", ".divx", ".xvid", ".amv", ".rm", ".rmvb", ".nut", ".ivf"),
    *(".mjpg", ".mjpeg", ".y4m", ".insv", ".gif"),
)
# A GIF beside a video of the same name is a preview of it.
PREVIEW = ".gif"
# ActivityNet's annotations and files may have this prefix; the classifiers' names of its videos do not.
VIDEO_PREFIX = "v_"
# Seconds in which a file of another extension must show that it is a video.
OPEN_LIMIT = 30.0


def check_videos_folder(folder: Path | None) -> None:
    """Raises `UserError` if the option `--videos` names no folder; None: it is not given."""
    if folder is not None and not folder.is_dir():
        raise UserError(f"--videos={folder}: no such folder; expected the folder of the video files")


def find_files(folder: Path, names: Sequence[str], prefix: str = "") -> tuple[dict[str, Path], dict[str, str]]:
    """Finds the file of every video.

    A name is that of a file in the folder, with or without its extension. A name with folders, `sub/a`, means these
    folders of `folder`. Where there are none, its first folder is left out, as a name may be a path of another machine.
    A file with one of `EXTENSIONS` is taken unopened. A file of another kind is taken if FFmpeg finds a video in it;
    subtitles, pictures and tables of the same name therefore neither win nor stand in the way.

    Args:
      folder: folder of the video files.
      names: names of the videos, as in the annotations.
      prefix: text at the start of the file names; a name that has the prefix already is found too.

    Returns:
      A mapping from name to file, and a mapping from name to problem, for videos with no file or with several, and for
      names that mean the same file.

    Raises:
      UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"config.data.videos={folder}: no such folder")
    search = _Search(folder, prefix)
    files: dict[str, Path] = {}
    problems: dict[str, str] = {}
    meant = defaultdict(list)
    for name in names:
        found = search.find(name)
        if isinstance(found, str):
            problems[name] = found
        else:
            files[name] = found.path
            meant[found.path].append(name)
    for path, several in meant.items():
        if len(set(several)) > 1:
            for name in several:
                problems[name] = f"{path}: meant by several names ({', '.join(map(shown, several))}); use one"
                files.pop(name, None)
    return files, problems


def short_names(folder: Path, candidates: Mapping[str, Sequence[str]], prefix: str = "") -> dict[str, str]:
    """Maps the names of videos as people write them to the shortest names by which `find_files` finds the same files.

    A short name has no extension, unless two files differ in nothing else, and only folders in which the file lies.

    Args:
      folder: folder of the video files.
      candidates: video as written -> the names that its file may have, with or without extension and folders, the
        likeliest first. If none has a file, the first one counts.
      prefix: as in `find_files`.
    """
    search = _Search(folder, prefix)
    return {
        video: search.shorten(next((name for name in names if isinstance(search.find(name), _Found)), names[0]))
        for video, names in candidates.items()
    }


def videos_below(folder: Path) -> list[Path]:
    """Returns the videos in a folder at any depth, also in linked folders, sorted.

    Videos are told by `EXTENSIONS`. Hidden files are left out, and a GIF beside a video of the same name.
    """
    found: list[Path] = []
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:  # links may lead in a circle
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        here = [Path(place, name) for name in files if _is_listed(name) and not name.startswith(".")]
        films = {path.stem for path in here if path.suffix.lower() != PREVIEW}
        found += [path for path in here if path.suffix.lower() != PREVIEW or path.stem not in films]
    return sorted(found)


def given_videos(path: Path, written: str | None = None) -> list[Path]:
    """Returns what a path of the command line means: a file, which need not exist, or the videos below a folder.

    Args:
      path: of a file or a folder.
      written: end of the names of files in folders that this package has written, and that are not meant.

    Raises:
      UserError: the folder holds no video.
    """
    if not os.path.isdir(path):  # unlike Path.is_dir, it accepts names that are too long
        return [path]
    videos = [file for file in videos_below(path) if written is None or not file.name.endswith(written)]
    if not videos:
        raise UserError(f"{path}: no video in this folder; looked for {' '.join(EXTENSIONS)}")
    return videos


def name_hint(strangers: Iterable[str], known: Iterable[str]) -> str:
    """Returns a hint about unknown names that differ from known ones only in spelling; an empty text if there are none.

    Spelling covers a "v_" at the start, the extension of a video file, and folders before the name.
    """
    spelled = {_bare(name): name for name in known}
    renamed = {name: spelled[_bare(name)] for name in strangers if _bare(name) in spelled}
    if not renamed:
        return ""
    name, wanted = next(iter(renamed.items()))
    return f'{len(renamed)} of these names would match if spelled alike, such as "{name}" as "{wanted}": rename them'


def _bare(name: str) -> str:
    """Returns a name without folders, extension of a video file, and "v_" at its start."""
    path = PurePath(normal(name))
    return (path.stem if _is_listed(path.name) else path.name).removeprefix(VIDEO_PREFIX)


def _is_listed(name: str) -> bool:
    return PurePath(name).suffix.lower() in EXTENSIONS


def _whole(name: str) -> str:
    """Returns the name of a file with the extension in small letters, as names with an extension are compared."""
    path = PurePath(normal(name))
    return path.stem + path.suffix.lower()


class _Found(NamedTuple):
    """The file of a name: its path, the folders below the top one that lead to it, and its names in the last of them.

    Attributes:
      path: the file.
      folders: below the top folder, as the name spells them.
      last: the name without folders.
      short: `last` without the file's extension.
    """

    path: Path
    folders: tuple[str, ...]
    last: str
    short: str


class _Listing(NamedTuple):
    """The content of a folder, by names in the normal form.

    Attributes:
      folders: name -> folders.
      whole: name -> files.
      stems: name without extension -> files.
      near: name with or without extension, in small letters -> names of files and folders.
    """

    folders: dict[str, list[Path]]
    whole: dict[str, list[Path]]
    stems: dict[str, list[Path]]
    near: dict[str, list[str]]


class _Search:
    """A search for the videos in a folder by name; it lists each folder once."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder = folder
        self._prefix = prefix
        self._listings: dict[Path, _Listing] = {}

    def find(self, name: str) -> _Found | str:
        """Returns the file of a name, or what is wrong."""
        for folders, last in _readings(name):
            for stem in self._stems(last):
                whole, others = self._candidates(folders, stem)
                match [*whole, *others]:
                    case [path]:
                        return _Found(path, folders, last, PurePosixPath(last).stem if whole else last)
                    case [_, *_] as several:
                        listed = ", ".join(shown(path.name) for path in several)
                        return f"{self._folder.joinpath(*folders, stem)}: several files ({listed}); keep one"
            if self._places(folders):  # a file of another folder would be another video
                break
        folders, last = _literal(name)
        stem = self._stems(last)[-1]
        return f"{self._folder.joinpath(*folders, stem)}: no file with this name{self._near(folders, stem)}"

    def shorten(self, name: str) -> str:
        """Returns the shortest name that means the same file; a name without a file only loses its extension."""
        found = self.find(name)
        if isinstance(found, str):
            folders, last = _literal(name)
            return "/".join((*folders, PurePosixPath(last).stem if _is_listed(last) else last))
        for last in (found.short, found.last):
            short = "/".join((*found.folders, last))
            again = self.find(short)
            if isinstance(again, _Found) and again.path == found.path:
                return short
        return name

    def _stems(self, last: str) -> list[str]:
        # prefix + name comes first: in a data set with prefix "v_", a name may itself begin with "v_"
        return [self._prefix + last, *([last] if self._prefix and last.startswith(self._prefix) else [])]

    def _candidates(self, folders: tuple[str, ...], name: str) -> tuple[list[Path], list[Path]]:
        """Returns the videos whose whole name this is, and those that are called so but for the extension."""
        whole, stems = self._called(folders, name)
        films = [path for path in stems if _is_listed(path.name)]
        if len(films) > 1:
            films = [path for path in films if path.suffix.lower() != PREVIEW]
        whole = [path for path in whole if _is_listed(path.name) or _shows_video(path)]
        return whole, films if films or whole else [path for path in stems if _shows_video(path)]

    def _called(self, folders: tuple[str, ...], name: str) -> tuple[list[Path], list[Path]]:
        """Returns the files of any kind with this name, and those with this name but for the extension."""
        listings = self._places(folders)
        whole = [path for one in listings for path in one.whole.get(_whole(name), [])]
        return whole, [path for one in listings for path in one.stems.get(normal(name), []) if path not in whole]

    def _near(self, folders: tuple[str, ...], name: str) -> str:
        """Returns what is there in place of a video of this name, for the message; empty if nothing is."""
        if not (listings := self._places(folders)):
            return " (nor such a folder)"
        if kept := [path.name for paths in self._called(folders, name) for path in paths]:
            return f": FFmpeg finds no video in {', '.join(map(shown, kept))}"
        called = {normal(name).casefold(), _whole(name).casefold()}
        near = sorted({other for one in listings for key in called for other in one.near.get(key, [])})
        return f", but {', '.join(map(shown, near))}: capital letters count, and folders are no videos" if near else ""

    def _places(self, folders: tuple[str, ...]) -> list[_Listing]:
        """Lists the folders with these names; there are several if names on the disk differ only in Unicode form."""
        places = [self._listed(self._folder)]
        for part in folders:
            places = [self._listed(inner) for one in places for inner in one.folders.get(normal(part), [])]
        return places

    def _listed(self, folder: Path) -> _Listing:
        if folder not in self._listings:
            self._listings[folder] = _list(folder)
        return self._listings[folder]


def _list(folder: Path) -> _Listing:
    """Lists a folder; raises `UserError` if it cannot be read."""
    listing = _Listing({}, {}, {}, {})
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries)
    except OSError as error:
        raise UserError(f"{folder}: the folder of videos cannot be read ({error.strerror})") from None
    for name, is_folder in found:
        path, whole = folder / name, _whole(name)
        stem = normal(path.stem)
        for key in {whole.casefold(), stem.casefold()}:
            listing.near.setdefault(key, []).append(f"{name}/" if is_folder else name)
        if is_folder:
            listing.folders.setdefault(normal(name), []).append(path)
        else:
            listing.whole.setdefault(whole, []).append(path)
            listing.stems.setdefault(stem, []).append(path)
    return listing


def _path(name: str) -> PurePath:
    return PureWindowsPath(name) if "\\" in name and "/" not in name else PurePosixPath(name)


def _readings(name: str) -> list[tuple[tuple[str, ...], str]]:
    """Returns the ways to read a name, as folders below the top one and the last part.

    The first way takes all folders of the name. As the name may be a path of another machine, or start above the top
    folder, the others leave out one folder after another.
    """
    path = _path(name)
    parts = [part for part in path.parts[:-1] if part != path.anchor]
    if ".." in parts:
        parts = parts[len(parts) - parts[::-1].index("..") :]
    return [(tuple(parts[first:]), path.name) for first in range(len(parts) + 1)]


def _literal(name: str) -> tuple[tuple[str, ...], str]:
    """Returns the reading of a name that messages show: all of it, or the last part of a path of another machine."""
    path = _path(name)
    return _readings(name)[-1 if path.anchor or ".." in path.parts else 0]


def _shows_video(path: Path) -> bool:
    """Tells whether FFmpeg finds a video in a file; an unchanged file is asked once."""
    try:
        status = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and _asked(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _asked(path: Path, size: int, changed: int) -> bool:
    """Opens a file; `size` and `changed` only tell versions of it apart in the cache."""
    try:
        return within(OPEN_LIMIT, str(path), lambda: is_video(path))
    except UserError:
        return False
