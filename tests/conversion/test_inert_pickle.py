"""Files of torch with foreign classes: read where these are harmless, and never a line of code of any of them.

Hostile pickles are written opcode by opcode. Each would leave a file named "ran" if anything of it ran: by a call, or
by an import of the module `canary`, which lies on the path.
"""

import argparse
import collections
import copyreg
import datetime
import enum
import io
import pathlib
import pickle
import sys
import types
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adatad_jax.conversion.inert_pickle import make_pickle_module
from adatad_jax.conversion.torch_file import TensorFile, read_tensors
from adatad_jax.errors import UserError

STATE = collections.OrderedDict({"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)})


class Colour(enum.Enum):
    RED = 1


class Windows:
    """Pickled as a path of another system, which cannot be made here."""

    def __reduce__(self) -> tuple:
        return (pathlib.WindowsPath, ("C:\\weights",))


@pytest.fixture
def mmengine() -> Iterator[types.ModuleType]:
    """Makes a module with classes as mmengine stores them; it is gone when a file is read."""
    module = types.ModuleType("mmengine_like")

    class HistoryBuffer:
        def __init__(self) -> None:
            self.log_history = np.arange(3.0)
            self.statistics = {"min": HistoryBuffer.min}  # pickled as getattr(HistoryBuffer, "min")

        def min(self) -> float:
            return float(self.log_history.min())

    class ConfigDict(dict):
        def __setstate__(self, state: Any) -> None:
            raise AssertionError("ran")

        def __getstate__(self) -> dict:
            return {"frozen": True}

    for cls in (HistoryBuffer, ConfigDict):
        cls.__module__, cls.__qualname__ = module.__name__, cls.__name__
        setattr(module, cls.__name__, cls)
    HistoryBuffer.min.__module__, HistoryBuffer.min.__qualname__ = module.__name__, "HistoryBuffer.min"
    sys.modules[module.__name__] = module
    yield module
    sys.modules.pop(module.__name__, None)


def read_after(module: types.ModuleType, path: Path) -> TensorFile:
    """Reads a file when the module that was there as it was written is no longer installed."""
    sys.modules.pop(module.__name__, None)
    return read_tensors(path)


def beside(mmengine: Any) -> dict[str, Any]:
    return {
        "history": [mmengine.HistoryBuffer(), mmengine.HistoryBuffer()],
        "cfg": mmengine.ConfigDict(model={"type": "ActionFormer"}),
        "path": pathlib.PurePosixPath("runs") / "a",
        "windows": Windows(),
        "args": argparse.Namespace(lr=1e-3, out=pathlib.PurePosixPath("x")),
        "numpy": [np.float64(0.5), np.int64(3), np.arange(3), np.dtype("float32"), np.array(["a"])],
        "collections": [collections.defaultdict(list, a=[1]), collections.Counter("aab"), collections.deque([1])],
        "time": [datetime.datetime(2024, 1, 1), datetime.timedelta(seconds=3)],
        "torch": [torch.device("cpu"), torch.Size([1, 2]), torch.float32],
        "others": [Colour.RED, {1, 2}, frozenset({3}), 1 + 2j, slice(1), bytearray(b"x"), b"bytes", 10**30],
    }


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_harmless_foreign_classes_are_no_obstacle(zipped: bool, protocol: int, mmengine: Any, tmp_path: Path) -> None:
    content = {"state_dict": STATE, "state_dict_ema": {"module.a": torch.nn.Parameter(torch.zeros(2))}}
    path = tmp_path / "a.pth"
    torch.save(content | beside(mmengine), path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    file = read_after(mmengine, path)
    assert file.tensors.keys() == STATE.keys()
    np.testing.assert_array_equal(file.tensors["a"], np.arange(6, dtype=np.float32).reshape(2, 3))
    np.testing.assert_array_equal(file.averaged["a"], np.zeros(2, np.float32))
    assert file.tensors["b"].dtype.name == "bfloat16"
    assert file.foreign["mmengine_like.HistoryBuffer"] == 2
    assert file.foreign["mmengine_like.ConfigDict"] == 1
    assert file.foreign["pathlib.WindowsPath"] == 1
    assert not any(name.startswith("mmengine") for name in sys.modules)


@pytest.mark.parametrize("kind", ["defaultdict", "ConfigDict", "OrderedDict"])
def test_tensors_in_a_dictionary_of_another_class_are_found(kind: str, mmengine: Any, tmp_path: Path) -> None:
    made = {"defaultdict": collections.defaultdict(list), "ConfigDict": mmengine.ConfigDict()}
    state = made.get(kind, collections.OrderedDict())
    state.update(STATE)
    torch.save({"state_dict": state, "history": mmengine.HistoryBuffer(), "set": {Colour.RED}}, tmp_path / "a.pth")
    assert read_after(mmengine, tmp_path / "a.pth").tensors.keys() == STATE.keys()


def test_files_without_foreign_classes_have_none(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "args": argparse.Namespace(lr=1)}, tmp_path / "a.pth")
    assert read_tensors(tmp_path / "a.pth").foreign == {}


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_are_the_same_as_torchs_own(zipped: bool, mmengine: Any, tmp_path: Path) -> None:
    """Covers views that share a storage, strides, no dimensions, and every dtype."""
    base = torch.arange(24.0)
    state = {"view": base[4:10].reshape(2, 3), "turned": base.reshape(4, 6).T, "scalar": torch.tensor(3.5)}
    state |= {str(kind): torch.ones(3, dtype=kind) for kind in (torch.float64, torch.float16, torch.int64, torch.bool)}
    torch.save({"state_dict": state}, tmp_path / "plain.pth", _use_new_zipfile_serialization=zipped)
    with_classes = {"state_dict": state, "history": mmengine.HistoryBuffer()}
    torch.save(with_classes, tmp_path / "foreign.pth", _use_new_zipfile_serialization=zipped)
    plain, found = read_tensors(tmp_path / "plain.pth"), read_after(mmengine, tmp_path / "foreign.pth")
    assert found.tensors.keys() == plain.tensors.keys()
    for key, value in plain.tensors.items():
        assert (found.tensors[key].dtype, found.tensors[key].shape) == (value.dtype, value.shape)
        np.testing.assert_array_equal(found.tensors[key], value)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_tensor_of_another_kind_is_not_lost_in_silence(zipped: bool, mmengine: Any, tmp_path: Path) -> None:
    content = {"state_dict": {"a": torch.eye(2).to_sparse(), "b": torch.ones(1)}, "x": mmengine.HistoryBuffer()}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"a\.pth: a tensor that torch\._utils\._rebuild_sparse_tensor rebuilds"):
        read_after(mmengine, tmp_path / "a.pth")


def test_damage_beside_foreign_classes_is_found(mmengine: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"state_dict": {"a": torch.ones(10_000)}, "x": mmengine.HistoryBuffer()}, path)
    whole = path.read_bytes()
    for damaged in (whole[:20_000], whole[:20_000] + b"\1" + whole[20_001:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"a\.pth: .*damaged"):
            read_after(mmengine, path)


def text(words: str) -> bytes:
    """A string, as an opcode of every protocol."""
    return b"V" + words.encode() + b"\n"


SYSTEM = b"cposix\nsystem\n"
COMMAND = b"(" + text("touch ran") + b"t"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
GETATTR = b"cbuiltins\ngetattr\n"
CANARY = b"ccanary\nThing\n"
HOSTILE = {
    "REDUCE": SYSTEM + COMMAND + b"R",
    "REDUCE of os": b"cos\nsystem\n" + COMMAND + b"R",
    "REDUCE of subprocess": b"csubprocess\nPopen\n" + COMMAND + b"R",
    "REDUCE of eval": b"cbuiltins\neval\n(" + text("open('ran', 'w')") + b"tR",
    "REDUCE of Python 2's eval": b"c__builtin__\neval\n(" + text("open('ran', 'w')") + b"tR",
    "REDUCE of open": b"cbuiltins\nopen\n(" + text("ran") + text("w") + b"tR",
    "REDUCE of a method": b"cpathlib\nPath.touch\n(cpathlib\nPath\n(" + text("ran") + b"tRtR",
    "REDUCE of io": b"cio\nopen\n(" + text("ran") + text("w") + b"tR",
    "REDUCE of a class on the path": CANARY + b")R",
    "REDUCE of getattr, then a call": GETATTR + b"(" + CANARY + text("run") + b"tR)R",
    "REDUCE of a state": CANARY + b")R(" + text("ran") + b"tR",
    "REDUCE of partial": b"cfunctools\npartial\n(" + CANARY + text("ran") + b"tR)R",
    "REDUCE of attrgetter": b"coperator\nattrgetter\n(" + text("system") + b"tR(cposixpath\nos\ntR",
    "REDUCE of torch.load": b"ctorch\nload\n(" + text("other.pth") + b"tR",
    "REDUCE of a hub": b"ctorch.hub\nload\n(" + text("x") + text("y") + b"tR",
    "INST": b"(" + text("touch ran") + b"iposix\nsystem\n",
    "INST of a class on the path": b"(icanary\nThing\n",
    "OBJ": b"(" + SYSTEM + text("touch ran") + b"o",
    "OBJ of a class on the path": b"(" + CANARY + b"o",
    "NEWOBJ": SYSTEM + b")\x81",
    "NEWOBJ of a class on the path": CANARY + b")\x81",
    "NEWOBJ_EX": SYSTEM + b")}\x92",
    "NEWOBJ_EX of a class on the path": CANARY + b")}" + text("x") + b"K\1s\x92",
    "STACK_GLOBAL": text("posix") + text("system") + b"\x93" + COMMAND + b"R",
    "STACK_GLOBAL of a dotted name": text("canary") + text("Thing.run") + b"\x93)R",
    "EXT1": b"\x82\xf0" + COMMAND + b"R",
    "EXT2": b"\x83\xf0\0" + COMMAND + b"R",
    "EXT4": b"\x84\xf0\0\0\0" + COMMAND + b"R",
    "EXT1 of a class on the path": b"\x82\xf1)R",
    "BUILD with __setstate__": CANARY + b")R}" + text("x") + b"K\1sb",
    "BUILD of a class": CANARY + b"}" + text("__reduce__") + SYSTEM + b"sb",
    "BUILD of slots of a class": CANARY + b"N}" + text("run") + SYSTEM + b"s\x86b",
    "BUILD of a function": REBUILD + b"}" + text("__defaults__") + b")sb",
    "BUILD of slots of a function": REBUILD + b"N}" + text("__kwdefaults__") + b"}s\x86b",
    "BUILD of a dictionary": b"ccollections\nOrderedDict\n)R}" + text("get") + CANARY + b"sb",
    "SETITEM of a class": CANARY + text("run") + b"K\1s",
    "APPENDS to a class": CANARY + b"(K\1e",
    "a function that rebuilds": REBUILD + b"(" + SYSTEM + b"K\0))NNtR",
    "a function that rebuilds, of stand-ins": REBUILD + b"(" + CANARY + b")RK\0))I00\n}tR",
    "a function that rebuilds a parameter": b"ctorch._utils\n_rebuild_parameter\n(" + CANARY + b"I00\n}tR",
    "a function that rebuilds any type": b"ctorch._tensor\n_rebuild_from_type_v2\n(" + CANARY + CANARY + b"))tR",
    "a function that calls its argument": b"ctorch._tensor\n_rebuild_from_type\n(" + CANARY + CANARY + b")}tR",
    "a function that imports": b"ctorch._utils\n_import_dotted_name\n(" + text("canary.Thing") + b"tR)R",
    "a wrapper subclass": b"ctorch._utils\n_rebuild_wrapper_subclass\n(" + CANARY + b"tR",
    "a persistent id": b"(" + text("storage") + CANARY + text("0") + text("cpu") + b"K\1Nt\x51",
    "a persistent id of a module": b"(" + text("module") + CANARY + text("f.py") + text("source") + b"t\x51",
    "a persistent id of text": b"P0\n",
}


def as_zip(path: Path, content: bytes) -> None:
    """Writes a file as torch.save does, with other content in place of its pickle."""
    torch.save(STATE, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, content if name.endswith("data.pkl") else data)


def as_legacy(path: Path, content: bytes) -> None:
    """Writes a file as torch.save did before 1.6."""
    parts = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in parts) + content + pickle.dumps([], 2))


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Makes the folder in which "ran" appears if anything runs."""
    (tmp_path / "canary.py").write_text("open('ran', 'w').close()\nclass Thing:\n    def run(*args): pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    registered = [("posix", "system", 0xF0), ("canary", "Thing", 0xF1)]
    for entry in registered:
        copyreg.add_extension(*entry)
    yield tmp_path
    for entry in registered:
        copyreg.remove_extension(*entry)


@pytest.mark.parametrize("write", [as_zip, as_legacy])
@pytest.mark.parametrize("protocol", [b"\x80\x02", b"\x80\x04"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_nothing_in_a_pickle_runs(kind: str, protocol: bytes, write: Callable, trap: Path) -> None:
    """Puts each hostile value beside the weights, in place of the weights, and inside them."""
    before = torch._utils._rebuild_tensor_v2.__defaults__, torch._utils._rebuild_tensor_v2.__kwdefaults__
    for content in (
        HOSTILE[kind],
        b"}" + text("model") + HOSTILE[kind] + b"s",
        b"}" + text("state_dict") + b"}" + text("a") + HOSTILE[kind] + b"ss",
    ):
        write(trap / "a.pth", protocol + content + b".")
        with pytest.raises(UserError, match=r"a\.pth: "):
            read_tensors(trap / "a.pth")
    assert not (trap / "ran").exists()
    assert "canary" not in sys.modules
    assert before == (torch._utils._rebuild_tensor_v2.__defaults__, torch._utils._rebuild_tensor_v2.__kwdefaults__)
    assert {path.name for path in trap.iterdir()} == {"a.pth", "canary.py"}


@pytest.mark.parametrize("kind", ["REDUCE", "INST", "OBJ", "EXT1", "STACK_GLOBAL", "NEWOBJ of a class on the path"])
def test_the_trap_works(kind: str, trap: Path) -> None:
    """Python's own unpickler runs what the tests above give to ours."""
    try:
        pickle.loads(b"\x80\x04" + HOSTILE[kind] + b".")
        assert (trap / "ran").exists()
    finally:
        sys.modules.pop("canary", None)
        copyreg._extension_cache.clear()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "kind", ["REDUCE", "REDUCE of eval", "REDUCE of getattr, then a call", "INST", "OBJ", "EXT1", "BUILD of a function"]
)
def test_what_would_run_is_called_that(kind: str, trap: Path) -> None:
    as_zip(trap / "a.pth", b"\x80\x02" + HOSTILE[kind] + b".")
    with pytest.raises(UserError, match=r"a\.pth: refused: it would run code when read \("):
        read_tensors(trap / "a.pth")


def test_a_stand_in_of_one_file_does_not_reach_the_next(trap: Path) -> None:
    """Names are not cached either: each file has stand-ins of its own."""
    module, foreign = make_pickle_module(torch)
    other, _ = make_pickle_module(torch)
    first = module.Unpickler(open_bytes(CANARY + b".")).load()
    assert first is not other.Unpickler(open_bytes(CANARY + b".")).load()
    assert foreign == {"canary.Thing": 0}
    with pytest.raises(pickle.UnpicklingError):
        first.run = 1
    first()
    assert foreign == {"canary.Thing": 1}


def test_extensions_are_not_taken_from_a_cache(trap: Path) -> None:
    pickle.loads(b"\x80\x02\x82\xf0.")  # now Python knows the function by its number
    as_zip(trap / "a.pth", b"\x80\x02" + HOSTILE["EXT1"] + b".")
    with pytest.raises(UserError, match="run code"):
        read_tensors(trap / "a.pth")
    assert not (trap / "ran").exists()


def open_bytes(content: bytes) -> io.BytesIO:
    return io.BytesIO(content)
