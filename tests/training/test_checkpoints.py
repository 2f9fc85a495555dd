"""Checkpoints of version 0.1, which hold the whole tree, and frozen parameters beside the checkpoints."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from adatad_jax.errors import UserError
from adatad_jax.training import checkpoints, choosing
from adatad_jax.training.checksums import LIST_FILE
from adatad_jax.training.parameters import merge
from adatad_jax.weights.frozen import read_frozen, write_frozen
from tests.training.states import FROZEN, STATE, TRAINED, array, write_old


def test_a_checkpoint_of_version_0_1_gives_the_same_state(tmp_path: Path) -> None:
    items: dict[str, Any] = {
        "params": merge(TRAINED, FROZEN),
        "ema": {"backbone/blocks_0_1/tia/gamma": array(11, 12), "detector/head/scale": array(13)},
        "progress": {
            "step": np.int32(5),
            "opt_state": [array(7), array(8, 9)],
            "normalizer": np.float32(99),
            "key": np.array([0, 1], np.uint32),
        },
    }
    write_old(tmp_path, 5, items, {"epoch": 2})
    saved = choosing.read_chosen(tmp_path)
    state = checkpoints.restore_state(saved, read_frozen(tmp_path, saved), STATE, tmp_path)
    assert jax.tree.structure(state) == jax.tree.structure(STATE)
    jax.tree.map(np.testing.assert_array_equal, state, STATE)
    assert saved.metadata == {"epoch": 2}


def test_frozen_parameters_are_read_from_beside_the_checkpoints(tmp_path: Path) -> None:
    with checkpoints.open_manager(tmp_path, keep=1) as manager:
        checkpoints.save(manager, 5, STATE, {"epoch": 2})
    saved = choosing.read_chosen(tmp_path)
    with pytest.raises(UserError, match=r"/frozen: .*\b2 frozen arrays\b"):
        read_frozen(tmp_path, saved)
    write_frozen(tmp_path, FROZEN["backbone"])  # left by a run that was killed before its first checkpoint
    write_frozen(tmp_path, FROZEN)
    jax.tree.map(np.testing.assert_array_equal, read_frozen(tmp_path, saved), FROZEN)
    other = jax.tree.map(lambda leaf: leaf + 1, FROZEN)  # the same shapes
    write_frozen(tmp_path / "other", other)
    (tmp_path / "frozen/crc32").write_bytes((tmp_path / "other/frozen/crc32").read_bytes())
    with pytest.raises(UserError, match=r"/frozen: damaged\b.*: crc32; copy\b"):
        read_frozen(tmp_path, saved)
    (tmp_path / "frozen" / LIST_FILE).unlink()  # as in a run of an earlier version
    with pytest.raises(UserError, match=r"/frozen: damaged\b.*\bCRC-32\b"):
        read_frozen(tmp_path, saved)
    for path in (tmp_path / "frozen/params").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(UserError, match=r"/frozen: damaged\b"):
        read_frozen(tmp_path, saved)


def test_a_run_that_trains_everything_has_no_frozen_folder(tmp_path: Path) -> None:
    with checkpoints.open_manager(tmp_path, keep=1) as manager:
        checkpoints.save(manager, 5, STATE._replace(frozen={}), {"epoch": 2})
    write_frozen(tmp_path, {})
    assert not (tmp_path / "frozen").exists()
    assert read_frozen(tmp_path, choosing.read_chosen(tmp_path)) == {}
