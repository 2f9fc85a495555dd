"""Video files by the names of their videos, however these are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from adatad_jax.errors import UserError

EXTENSIONS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".wmv")
# Names of the classifiers' videos have no prefix; annotations and files of ActivityNet may have this one.
VIDEO_PREFIX = "v_"


def find_files(folder: Path, names: Sequence[str], prefix: str = "") -> tuple[dict[str, Path], dict[str, str]]:
    """The file of every video: `folder/PREFIXNAME` with any of the usual extensions.

    Args:
      folder: of the videos.
      names: as in the annotations.
      prefix: what file names have in front; a name that carries it already is found too.

    Returns:
      name -> file; and name -> what is wrong, for the videos that have no file, or several.

    Raises:
      UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"config.data.videos={folder}: no such folder")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in EXTENSIONS:
            found.setdefault(path.stem, []).append(path)

    files: dict[str, Path] = {}
    problems: dict[str, str] = {}
    for name in names:
        # the prefix first: an id of a data set with prefix "v_" may itself begin with "v_"
        stem = name if name.startswith(prefix) and prefix + name not in found else prefix + name
        match found.get(stem, []):
            case [path]:
                files[name] = path
            case []:
                problems[name] = f"{folder / stem}: no file with this name and one of {' '.join(EXTENSIONS)}"
            case several:
                problems[name] = f"{folder / stem}: several files ({', '.join(p.name for p in several)}); keep one"
    return files, problems


def name_hint(strangers: Iterable[str], known: Iterable[str]) -> str:
    """How names of videos that are not known would be, if only their spelling differs; else an empty text.

    Spelled differently are names with and without "v_" in front, the extension of a video file, or folders.
    """
    spelled = {_bare(name): name for name in known}
    renamed = {name: spelled[_bare(name)] for name in strangers if _bare(name) in spelled}
    if not renamed:
        return ""
    name, wanted = next(iter(renamed.items()))
    return f'{len(renamed)} of these names would match if spelled alike, such as "{name}" as "{wanted}": rename them'


def _bare(name: str) -> str:
    path = PurePath(name)
    return (path.stem if path.suffix.lower() in EXTENSIONS else path.name).removeprefix(VIDEO_PREFIX)
