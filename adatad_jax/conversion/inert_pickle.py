"""Reading of a torch file whose pickle names foreign classes, without any of their code.

Training scripts store more than tensors: mmengine's HistoryBuffer, configurations, paths, options. torch's safe reader
refuses such files whole. Here the pickle is read by an unpickler that gives out nothing that can act:

| the pickle names | it gets |
|---|---|
| a function that rebuilds a dense tensor or a parameter | our own version of it, which checks its arguments |
| OrderedDict | a dictionary that keeps its items and ignores attributes |
| a dtype of torch | that dtype |
| a function that rebuilds a tensor of another kind | an error: the tensor would be lost |
| something made to act: os, subprocess, eval, import, ... | an error |
| anything else, whether it is installed or not | a stand-in |

A stand-in keeps the items that the pickle sets, as those of a dictionary of a foreign class may be tensors.

No module is imported for a name, and no name is looked up. A stand-in takes any arguments, state and elements, and
forgets them. To call the object that a stand-in made is an error, since only code does that. Everything given out
refuses attributes, so that no pickle can change it for the next. torch itself reads the storages.
"""

import argparse
import copyreg
import pickle
import re
import types
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

# Modules and functions that a pickle names in order to act. Reading is safe without this list: it makes the message.
_ACTING = re.compile(
    r"(?:os|posix|nt|subprocess|commands|sys|importlib|imp|runpy|ctypes|socket|shutil|pty|webbrowser|code|codeop|pip"
    r"|c?[pP]ickle|_pickle|marshal|torch\.hub|torch\.utils\.cpp_extension)\..+"
    r"|(?:builtins|__builtin__)\.(?:eval|exec|execfile|compile|open|__import__|input|raw_input|breakpoint|globals|locals"
    r"|vars|setattr|delattr|exit|quit|apply|reload)"
)
_REBUILD = {
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch._utils", "_rebuild_parameter_with_state"),
    ("torch._tensor", "_rebuild_from_type_v2"),
}


class WouldRunError(pickle.UnpicklingError):
    """The pickle names something made to run code, or calls what only code calls."""


class UnknownTensorError(pickle.UnpicklingError):
    """The pickle holds a tensor of a kind that is not rebuilt, which would be lost."""


def load_without_code(path: Path, is_zip: bool, torch: Any) -> tuple[Any, Mapping[str, int]]:
    """Loads a torch file by torch's safe reader, or, where that refuses foreign classes, with stand-ins for them.

    Args:
      path: the file.
      is_zip: whether it is a ZIP archive, which is mapped into memory.
      torch: the library.

    Returns:
      What the file holds; and the name of each foreign class -> the number of its objects.

    Raises:
      WouldRunError: the file names something that is made to run code.
      UnknownTensorError: it holds a tensor that cannot be rebuilt.
      Exception: whatever torch raises for a damaged file.
    """
    with torch.serialization.safe_globals(_harmless()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about files that are refused afterwards
        try:
            return torch.load(path, map_location="cpu", mmap=is_zip, weights_only=True), {}
        except pickle.UnpicklingError as error:
            module, foreign = make_pickle_module(torch)
            copyreg.clear_extension_cache()  # what it holds would be given out without being asked for by name
            try:
                content = torch.load(path, map_location="cpu", mmap=is_zip, weights_only=False, pickle_module=module)
            except (WouldRunError, UnknownTensorError):
                raise
            except Exception:
                raise error from None
            return content, foreign


def _harmless() -> list[Any]:
    """Returns types that training scripts store beside weights and that run no code: options, NumPy scalars, arrays."""
    scalar, reconstruct = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
    kinds = {type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"}
    # NumPy 1 stored the same functions under another name.
    old = [(scalar, "numpy.core.multiarray.scalar"), (reconstruct, "numpy.core.multiarray._reconstruct")]
    return [argparse.Namespace, np.ndarray, np.dtype, scalar, reconstruct, *old, *kinds]


def foreign_words(foreign: Mapping[str, int]) -> str:
    """Names the foreign classes of a file, with the number of objects of each."""
    return ", ".join(f"{name} ({count})" for name, count in sorted(foreign.items()))


def make_pickle_module(torch: Any) -> tuple[types.ModuleType, Counter[str]]:
    """Makes what `torch.load` takes as `pickle_module`.

    Args:
      torch: the library.

    Returns:
      The module, and the counts of stand-ins made by name, which fill while a file is read.
    """
    foreign: Counter[str] = Counter()
    rebuild = _rebuilders(torch)

    class Unpickler(pickle.Unpickler):
        """Gives out what the table in the module's docstring says."""

        def find_class(self, module: str, name: str) -> Any:
            if (module, name) in rebuild:
                return rebuild[module, name]
            if (module, name) == ("collections", "OrderedDict"):
                return PlainDict
            if module == "torch" and isinstance(dtype := torch.__dict__.get(name), torch.dtype):
                return dtype
            whole = f"{module}.{name}"
            if module.startswith("torch") and name.startswith("_rebuild"):
                raise UnknownTensorError(f"a tensor that {whole} rebuilds")
            if _ACTING.fullmatch(whole):
                raise WouldRunError(whole)
            return _stand_in(whole, foreign)

    def load(file: Any, **settings: Any) -> Any:
        return Unpickler(file, **settings).load()

    module = types.ModuleType("inert_pickle")
    vars(module).update(Unpickler=Unpickler, load=load)
    return module, foreign


class PlainDict(dict[Any, Any]):
    """An ordered dictionary without attributes: those of a state_dict (`_metadata`) are versions of modules."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Ignores attributes."""


class _Stand(dict[Any, Any]):
    """What a stand-in makes: an object without other content than items; each is equal to itself alone."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Ignores state."""

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:  # type: ignore[override]  # it may stand for what is a key or in a set
        return id(self)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise WouldRunError("an object that is called")

    def _ignore(self, *values: Any) -> None:
        """Ignores elements."""

    append = extend = add = _ignore


class _Meta(type):
    """The type of stand-ins, whose attributes cannot be set."""

    def __setattr__(cls, name: str, value: Any) -> NoReturn:
        raise WouldRunError(f"an attribute of {cls.__name__}")


def _stand_in(whole: str, foreign: Counter[str]) -> type:
    """Makes the class that stands for a name; `foreign` counts the objects made of it."""
    foreign[whole] += 0

    def new(cls: type, *args: Any, **kwargs: Any) -> Any:
        foreign[whole] += 1
        return dict.__new__(cls)

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        """Ignores arguments."""

    return _Meta("StandIn", (_Stand,), {"__slots__": (), "__new__": new, "__init__": init})


class _Rebuilder:
    """A function that can be called, and nothing else."""

    __slots__ = ("function",)
    function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "function", function)

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __setstate__(self, state: Any) -> NoReturn:
        raise WouldRunError("a state for a function")

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise WouldRunError("an attribute of a function")


def _rebuilders(torch: Any) -> dict[tuple[str, str], _Rebuilder]:
    """Returns the functions that rebuild tensors and parameters, by module and name as in a pickle."""

    def tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Any:
        """Rebuilds a tensor; whether a gradient is needed, and hooks, are ignored."""
        if rest[2:] and rest[2]:
            raise UnknownTensorError("a tensor that is a view of conjugate or negated values")
        numbers = (offset, *size, *stride)
        if not isinstance(storage, torch.storage.TypedStorage) or not all(type(number) is int for number in numbers):
            raise pickle.UnpicklingError("a tensor without a storage, or with a size that is no number")
        return torch._utils._rebuild_tensor(storage, offset, tuple(size), tuple(stride))

    def parameter(data: Any, *rest: Any) -> Any:
        if not isinstance(data, torch.Tensor):
            raise pickle.UnpicklingError("a parameter without a tensor")
        return data

    def of_type(function: Any, kind: Any, args: Any, *rest: Any) -> Any:
        """Rebuilds a tensor that carries attributes, or is of a subclass; both are ignored."""
        if not isinstance(function, _Rebuilder):
            raise UnknownTensorError("a tensor of a foreign kind")
        return function(*args)

    functions: dict[str, Callable[..., Any]] = {
        "_rebuild_tensor": tensor,
        "_rebuild_tensor_v2": tensor,
        "_rebuild_parameter": parameter,
        "_rebuild_parameter_with_state": parameter,
        "_rebuild_from_type_v2": of_type,
    }
    return {(module, name): _Rebuilder(functions[name]) for module, name in _REBUILD}
