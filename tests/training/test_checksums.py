"""Flipped bits, lost and cut files in checkpoints: all are found."""

import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from adatad_jax.errors import UserError
from adatad_jax.training import checkpoints
from adatad_jax.training.checksums import LIST_FILE, Damaged, check_arrays, check_list, crc32, of_arrays, write_list
from adatad_jax.training.choosing import read_chosen
from adatad_jax.weights.frozen import read_frozen, write_frozen
from tests.training.states import FROZEN, write_run

FLIPS = 100


def test_the_checksum_is_the_crc_32_of_the_bytes() -> None:
    text = np.frombuffer(b"123456789", np.uint8)  # the check value in the catalogues of CRCs
    assert crc32(text) == 0xCBF43926
    assert crc32(text[4:], crc32(text[:4])) == 0xCBF43926
    scalar = np.zeros((), ml_dtypes.bfloat16)
    assert of_arrays({"a": {"b": text}, "c": [scalar]}) == {"a/b": "cbf43926", "c/0": "41d912ff"}


def test_an_array_that_changed_is_named() -> None:
    tree = {"a": np.arange(3.0), "b": np.arange(4)}
    written = of_arrays(tree)
    check_arrays(tree, written, "run")
    tree["a"][1] = np.nextafter(1, 2)
    with pytest.raises(Damaged, match=r"^run: .*\b1 arrays\b.*: a$"):
        check_arrays(tree, written, "run")
    with pytest.raises(Damaged, match=r"\b2 arrays\b.*: a, b$"):
        check_arrays({"a": tree["a"]}, written, "run")


def test_a_list_of_files(tmp_path: Path) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "one").write_bytes(b"123456789")
    (tmp_path / "deep/er/two").write_bytes(b"")
    assert not check_list(tmp_path)
    write_list(tmp_path)
    assert (tmp_path / LIST_FILE).read_text().splitlines()[:2] == ["00000000  deep/er/two", "cbf43926  one"]
    (tmp_path / "later").touch()  # as file systems and people leave behind
    assert check_list(tmp_path)
    (tmp_path / "deep/er/two").unlink()
    (tmp_path / "one").write_bytes(b"12345678")
    with pytest.raises(Damaged, match=rf"^{tmp_path}: .*\b2 files\b.*deep/er/two \(missing\), one$"):
        check_list(tmp_path)
    for content in (b"", b"cbf43926  one\n", (tmp_path / LIST_FILE).read_bytes()[:-1]):
        (tmp_path / LIST_FILE).write_bytes(content)
        with pytest.raises(Damaged, match=LIST_FILE):
            check_list(tmp_path)


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    """Files are drawn by their size, and each at least once, so that the smallest is flipped too."""
    write_run(tmp_path, [5])
    write_frozen(tmp_path, FROZEN)
    saved = read_chosen(tmp_path, 5)
    read_frozen(tmp_path, saved)
    files = sorted(
        path for folder in ("checkpoints", "frozen") for path in (tmp_path / folder).rglob("*") if path.is_file()
    )
    sizes = np.array([path.stat().st_size for path in files])
    rng = np.random.default_rng(0)
    drawn = [*range(len(files)), *rng.choice(len(files), FLIPS - len(files), p=sizes / sizes.sum())]
    assert len(drawn) == FLIPS
    found = 0
    for index in drawn:
        path = files[index]
        content = path.read_bytes()
        flipped = bytearray(content)
        flipped[rng.integers(len(flipped))] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            read_frozen(tmp_path, saved) if "frozen" in path.parts else read_chosen(tmp_path, 5)
        except UserError:
            found += 1
        path.write_bytes(content)
    assert found == FLIPS
    assert read_chosen(tmp_path, 5).step == 5


def test_flipped_arrays_are_found_without_the_list(tmp_path: Path) -> None:
    """A process that is killed between a checkpoint and its list leaves none, as do earlier versions."""
    write_run(tmp_path, [5, 6])
    folder = tmp_path / "checkpoints"
    for step in ("5", "6"):
        (folder / step / LIST_FILE).unlink()
    assert read_chosen(tmp_path, 6).step == 6
    for item in ("trained", "average", "progress"):  # as a wrong address on a disk does
        shutil.rmtree(folder / "6" / item)
        shutil.copytree(folder / "5" / item, folder / "6" / item)
    with pytest.raises(Damaged, match=r"checkpoints/6: .*\bCRC-32\b"):
        read_chosen(tmp_path, 6)


def test_checkpoints_of_before_have_no_checksums(tmp_path: Path) -> None:
    write_run(tmp_path, [5])
    (tmp_path / "checkpoints/5" / LIST_FILE).unlink()
    metadata = tmp_path / "checkpoints/5/metadata/metadata"
    metadata.write_text('{"epoch": 0, "tally": {}, "frozen": 3}')
    saved = read_chosen(tmp_path, 5)
    assert saved.metadata == {"epoch": 0, "tally": {}, "frozen": 3}
    np.testing.assert_array_equal(saved.trained["detector"]["head"]["scale"], [3])


def test_a_checkpoint_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, [5])
    (tmp_path / "checkpoints/5" / LIST_FILE).unlink()
    metadata = tmp_path / "checkpoints/5/metadata/metadata"
    metadata.write_text(metadata.read_text().replace(f'"format": {checkpoints.FORMAT}', '"format": 99'))
    for choice in (5, "latest"):
        with pytest.raises(UserError, match=rf"checkpoints/5: format 99\b.*\b{checkpoints.FORMAT}\b") as caught:
            read_chosen(tmp_path, choice)
        assert not isinstance(caught.value, Damaged)
