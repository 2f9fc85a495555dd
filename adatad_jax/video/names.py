"""The files that belong to names of videos, and hints about names that are spelled differently."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from adatad_jax.errors import UserError

EXTENSIONS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".wmv")
# ActivityNet's annotations and files may have this prefix; the classifiers' names of its videos do not.
VIDEO_PREFIX = "v_"


def find_files(folder: Path, names: Sequence[str], prefix: str = "") -> tuple[dict[str, Path], dict[str, str]]:
    """Finds the file of every video: `folder/PREFIXNAME` with one of `EXTENSIONS`.

    Args:
      folder: folder of the video files.
      names: names of the videos, as in the annotations.
      prefix: text at the start of the file names; a name that has the prefix already is found too.

    Returns:
      A mapping from name to file, and a mapping from name to problem, for videos with no file or with several.

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
        # prefix + name comes first: in a data set with prefix "v_", a name may itself begin with "v_"
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
    path = PurePath(name)
    return (path.stem if path.suffix.lower() in EXTENSIONS else path.name).removeprefix(VIDEO_PREFIX)
