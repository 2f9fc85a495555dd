"""Reading and writing of checkpoint files: every form that users have, bit for bit, and all that must be refused."""

import argparse
import gzip
import json
import pickle
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.torch
import torch

from adatad_jax.conversion.torch_file import read_tensors, write_tensors
from adatad_jax.errors import UserError
from tests.real_data import real_file

SUFFIXES = (".pth", ".safetensors")
STATE = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b.c": np.ones(2, np.float16)}


def as_torch(state: dict[str, np.ndarray], prefix: str = "") -> dict[str, torch.Tensor]:
    return {prefix + key: torch.from_numpy(value) for key, value in state.items()}


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert (found[key].dtype, found[key].shape) == (value.dtype, value.shape)
        assert found[key].tobytes() == value.tobytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip_is_bit_for_bit(suffix: str, tmp_path: Path) -> None:
    bits = np.arange(256, dtype=np.uint8)
    state = {
        "float64": np.array([1 / 3]),
        "bfloat16": np.array([0x3F81, 0x0001], np.uint16).view(ml_dtypes.bfloat16),
        "float16": np.array([6e-8, 65504], np.float16),
        "int64": np.array(2**60 + 1),
        "bool": np.array([True, False]),
        "uint8": bits,
        "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    }
    read_only = np.ones(3, np.float32)
    read_only.flags.writeable = False
    path = tmp_path / f"new/file{suffix}"
    write_tensors(path, state, {"module.a": read_only})
    file = read_tensors(path)
    assert_same(file.tensors, state)
    assert_same(file.averaged, {"a": read_only})
    assert file.config == {}
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # no temporary file stays
    write_tensors(path, STATE)
    assert_same(read_tensors(path).tensors, STATE)
    assert read_tensors(path).averaged == {}


def test_torch_users_read_what_is_written(tmp_path: Path) -> None:
    state = {"module.x": np.array([0x3F81], np.uint16).view(ml_dtypes.bfloat16)}
    write_tensors(tmp_path / "a.pth", state, STATE)
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    assert list(content) == ["state_dict", "state_dict_ema"]
    assert content["state_dict"]["module.x"].dtype == torch.bfloat16
    assert content["state_dict"]["module.x"].view(torch.int16).item() == 0x3F81
    torch.testing.assert_close(content["state_dict_ema"]["a"], torch.arange(6.0).reshape(2, 3), rtol=0, atol=0)
    write_tensors(tmp_path / "a.safetensors", state, STATE)
    flat = safetensors.torch.load_file(tmp_path / "a.safetensors")
    assert sorted(flat) == ["state_dict.module.x", "state_dict_ema.a", "state_dict_ema.b.c"]
    assert flat["state_dict.module.x"].view(torch.int16).item() == 0x3F81


@pytest.mark.parametrize("wrapper", [(), ("state_dict",), ("model",), ("module",), ("model", "state_dict")])
@pytest.mark.parametrize("prefix", ["", "module.", "module.module."])
@pytest.mark.parametrize("zipped", [True, False])
def test_wrappers_and_module_prefixes_come_off(
    wrapper: tuple[str, ...], prefix: str, zipped: bool, tmp_path: Path
) -> None:
    content: dict = as_torch(STATE, prefix)
    for name in reversed(wrapper):
        content = {name: content, "epoch": 3}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    assert_same(read_tensors(tmp_path / "a.pt").tensors, STATE)


def test_average_stands_beside_the_weights_or_for_them(tmp_path: Path) -> None:
    other = {"a": np.zeros(1, np.float32)}
    path = tmp_path / "a.pth"
    torch.save({"state_dict_ema": as_torch(other, "module."), "state_dict": as_torch(STATE)}, path)
    file = read_tensors(path)
    assert_same(file.tensors, STATE)
    assert_same(file.averaged, other)
    torch.save({"state_dict_ema": as_torch(other), "step": torch.tensor(7)}, path)
    file = read_tensors(path)
    assert_same(file.tensors, other)
    assert_same(file.averaged, other)


def test_what_training_scripts_leave_beside_the_weights_is_no_obstacle(tmp_path: Path) -> None:
    beside = {
        "args": argparse.Namespace(lr=1e-3, output=None),
        "best": np.float64(0.5),
        "epoch": np.int64(3),
        "history": np.zeros(3),
    }
    parameter = torch.nn.Parameter(torch.arange(3.0))
    torch.save({"model": {"w": parameter}, **beside}, tmp_path / "a.pth")
    assert_same(read_tensors(tmp_path / "a.pth").tensors, {"w": np.arange(3, dtype=np.float32)})


def test_safetensors_is_known_by_its_content(tmp_path: Path) -> None:
    safetensors.torch.save_file(as_torch(STATE, "module."), tmp_path / "weights.bin")
    assert_same(read_tensors(tmp_path / "weights.bin").tensors, STATE)


def test_published_file_of_the_old_format() -> None:
    assert len(read_tensors(real_file("weights/legacy_module_prefix.pth")).tensors) == 10


class Malicious:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", ["truncated", "cut in the middle", "text", "empty", "no tensors", "absent"])
def test_what_is_no_checkpoint_is_refused_by_name(kind: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"bad{suffix}"
    write_tensors(path, {"a": np.zeros(10_000, np.float32)})
    whole = path.read_bytes()
    if kind == "no tensors":
        torch.save({"epoch": 3}, path) if suffix == ".pth" else safetensors.torch.save_file({}, path)
    elif kind == "absent":
        path.unlink()
    else:
        content = {"truncated": whole[:-50], "cut in the middle": whole[:20_000], "text": b"no weights", "empty": b""}
        path.write_bytes(content[kind])
    with pytest.raises(UserError, match=r"bad\.(pth|safetensors): ") as caught:
        read_tensors(path)
    expected = {"no tensors": "holds no tensors", "absent": "no such file"}
    assert expected.get(kind, "truncated") in str(caught.value)
    assert "would run code" not in str(caught.value)


def test_other_files_of_torch_are_refused_without_its_advice(tmp_path: Path) -> None:
    """Checks that messages leave out torch's advice, which is to run whatever code a file holds."""
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(UserError, match=r"/module\.pth: holds no tensors .*torch\.nn\.\S*Linear.*state_dict\(\)"):
        read_tensors(tmp_path / "module.pth")
    (tmp_path / "page.pth").write_text("<html>quota exceeded</html>" * 100)
    (tmp_path / "packed.pth").write_bytes(gzip.compress(b"weights"))
    for name in ("page", "packed"):
        with pytest.raises(UserError, match=rf"{name}\.pth: not a PyTorch checkpoint") as caught:
            read_tensors(tmp_path / f"{name}.pth")
        assert "weights_only" not in str(caught.value)


def test_a_damaged_tensor_is_found_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"a": torch.ones(10_000)}, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.pth: .*damaged \(BadZipFile: Bad CRC-32"):
        read_tensors(path)


def test_files_written_without_checksums_are_read(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(as_torch(STATE), tmp_path / "a.pth")
    finally:
        torch.serialization.set_crc32_options(before)
    assert_same(read_tensors(tmp_path / "a.pth").tensors, STATE)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_with_code_never_run(zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.pth"
    if zipped:
        torch.save({"state_dict": Malicious()}, path)
    else:
        path.write_bytes(pickle.dumps({"state_dict": Malicious()}, protocol=2))
    with pytest.raises(UserError, match=r"/bad\.pth: refused: .*\brun code\b"):
        read_tensors(path)
    assert not Path("ran").exists()


def test_every_unfit_tensor_is_named(tmp_path: Path) -> None:
    unfit = {
        "sparse": torch.eye(2).to_sparse(),
        "complex": torch.ones(2, dtype=torch.complex64),
        "empty": torch.zeros(0, 3),
        "eight bits": torch.ones(2).to(torch.float8_e4m3fn),
    }
    torch.save({"fine": torch.ones(1), **unfit}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth: 4 tensors") as caught:
        read_tensors(tmp_path / "a.pth")
    assert all(key in str(caught.value) for key in unfit)
    assert "fine" not in str(caught.value)
    del unfit["sparse"]
    safetensors.torch.save_file({"fine": torch.ones(1), **unfit}, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=r"a\.safetensors: 3 tensors") as caught:
        read_tensors(tmp_path / "a.safetensors")
    assert all(key in str(caught.value) for key in unfit)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_every_tensor_with_nan_or_infinity_is_named(suffix: str, dtype: type, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    bad = {"x": np.array([1, np.nan], dtype), "y": np.array([np.inf], dtype), "z": np.array([1], dtype)}
    write_tensors(path, bad, {"z": np.array([-np.inf], dtype)})
    with pytest.raises(UserError, match=r": 3 tensors\b.*\bNaN\b.*: x, y, state_dict_ema: z$"):
        read_tensors(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_doubles_beyond_float32_are_infinite(suffix: str, tmp_path: Path) -> None:
    """Uses values around 3.4e38, the largest number in float32, in which everything is computed."""
    path = tmp_path / f"a{suffix}"
    write_tensors(path, {"x": np.array([3.4e38, 1e-300]), "y": np.array([3.5e38])})
    with pytest.raises(UserError, match=r": 1 tensors\b.*\binfinite\b.*: y$"):
        read_tensors(path)


def test_names_that_meet_without_module_are_refused(tmp_path: Path) -> None:
    torch.save({"module.a": torch.ones(1), "a": torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"/a\.pth: 1 tensors\b.*'module\.': module\.a$"):
        read_tensors(tmp_path / "a.pth")


def test_files_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"/a\.txt: .*\.pth\b.*\.safetensors\b"):
        write_tensors(tmp_path / "a.txt", STATE)
    (tmp_path / "file").touch()
    for suffix in SUFFIXES:
        taken = tmp_path / f"folder{suffix}"
        taken.mkdir()
        with pytest.raises(UserError, match=r"/folder\.\w+: .*\bwritten\b"):
            write_tensors(taken, STATE)
        with pytest.raises(UserError, match=r"/a\.\w+: .*\bwritten\b"):
            write_tensors(tmp_path / f"file/a{suffix}", STATE)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_others_may_read_what_is_written(suffix: str, tmp_path: Path) -> None:
    """Compares with the mode of any other new file of this user."""
    (tmp_path / "any").touch()
    write_tensors(tmp_path / f"a{suffix}", STATE)
    assert (tmp_path / f"a{suffix}").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_hugging_face_directories(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r": not a Hugging Face directory\b.*\bconfig\.json\b.*\bmodel\.safetensors\b"):
        read_tensors(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "videomae"}')
    shards = {"model-1.safetensors": {"a": STATE["a"]}, "model-2.safetensors": {"b.c": STATE["b.c"]}}
    for name, part in shards.items():
        safetensors.torch.save_file(as_torch(part), tmp_path / name)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {key: name for name, part in shards.items() for key in part}}))
    file = read_tensors(tmp_path)
    assert_same(file.tensors, STATE)
    assert file.config == {"model_type": "videomae"}
    # The configuration beside a single file counts too, unless it is another program's.
    assert read_tensors(tmp_path / "model-1.safetensors").config == {"model_type": "videomae"}
    (tmp_path / "config.json").write_text('{"seed": 0}')
    assert read_tensors(tmp_path / "model-1.safetensors").config == {}

    safetensors.torch.save_file(as_torch(STATE), tmp_path / "model-2.safetensors")
    with pytest.raises(UserError, match=r": 1 tensors\b.*\bfiles: a$"):
        read_tensors(tmp_path)
    (tmp_path / "model-2.safetensors").unlink()
    with pytest.raises(UserError, match=r"\bmodel\.safetensors\.index\.json\b.*: model-2\.safetensors$"):
        read_tensors(tmp_path)
    for content in ("{", "[]", "{}"):
        index.write_text(content)
        with pytest.raises(UserError, match=r"/model\.safetensors\.index\.json: .*(\bJSON\b|\bweight_map\b)"):
            read_tensors(tmp_path)
