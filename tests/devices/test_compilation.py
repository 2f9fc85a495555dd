"""The cache of compiled programs: where it lies, what it leaves alone, and processes that share it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Keeps compiled programs as the arguments say, compiles one, and prints what happened as JSON.
PROGRAM = """
import json, logging, sys
import jax
from adatad_jax.devices.compilation import keep_compiled
logging.basicConfig(format="%(message)s", stream=sys.stderr)
folder = keep_compiled(*sys.argv[1:])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
hits = []
jax.monitoring.register_event_listener(lambda event, **kwargs: hits.append(event))
value = jax.jit(lambda x: jax.numpy.sin(x) * 3)(jax.numpy.float32(2.0))
print(json.dumps({
    "folder": folder and str(folder),
    "hits": hits.count("/jax/compilation_cache/cache_hits"),
    "value": float(value),
    "size": jax.config.jax_compilation_cache_max_size,
}))
"""
GIB = 2**30


def start(*arguments: str | Path, **environment: str | Path) -> tuple[dict[str, object], str]:
    """Runs the program in another process; returns what it says, and what is in its standard error."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        env={**inherited, **{name: str(value) for name, value in environment.items()}},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout), done.stderr


def programs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*-cache"))


def test_a_later_start_finds_what_an_earlier_one_has_compiled(tmp_path: Path) -> None:
    """The folder is the user's; a program that a killed process left unfinished there is removed."""
    folder = tmp_path / "adatad-jax/compiled"
    first, said = start(XDG_CACHE_HOME=tmp_path)
    assert first["folder"] == str(folder)
    assert (first["hits"], first["size"]) == (0, 4 * GIB)
    assert not said
    assert folder.stat().st_mode & 0o077 == 0  # what lies there is run
    whole = programs(folder)
    assert whole
    unfinished = folder / "jit_step-0123-cache"
    unfinished.write_bytes(b"cut")
    second, said = start(XDG_CACHE_HOME=tmp_path)
    assert second["hits"] == len(whole)
    assert second["value"] == first["value"]
    assert not said
    assert programs(folder) == whole


def test_jax_own_variables_count(tmp_path: Path) -> None:
    named, _ = start(
        XDG_CACHE_HOME=tmp_path / "home",
        JAX_COMPILATION_CACHE_DIR=tmp_path / "named",
        JAX_COMPILATION_CACHE_MAX_SIZE=str(GIB),
    )
    assert (named["folder"], named["size"]) == (str(tmp_path / "named"), GIB)
    assert programs(tmp_path / "named")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("place", ["off", "file/below"])
def test_nothing_is_kept_where_it_is_off_or_fails(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    given = place if place == "off" else tmp_path / place
    found, said = start(given, XDG_CACHE_HOME=tmp_path / "home", JAX_COMPILATION_CACHE_DIR=tmp_path / "named")
    assert (found["folder"], found["hits"]) == (None, 0)
    assert not (tmp_path / "named").exists()
    assert not (tmp_path / "home").exists()
    lines = said.splitlines()
    assert len(lines) == (0 if place == "off" else 1)  # one warning, and the program goes on
    for line in lines:
        assert str(given) in line
        assert "--config.compilation_cache=" in line


def test_a_folder_of_an_object_store_is_left_to_jax(tmp_path: Path) -> None:
    """It is no folder of the working directory."""
    program = (
        "from adatad_jax.devices.compilation import keep_compiled; import jax; keep_compiled('gs://bucket/compiled'); "
        "print(jax.config.jax_compilation_cache_dir)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "gs://bucket/compiled\n"
    assert not list(tmp_path.iterdir())
