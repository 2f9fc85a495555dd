"""The command line of the benchmark: parts and devices that there are not, and what is run without a word."""

from collections.abc import Sequence

import jax
import pytest

from adatad_jax.errors import UserError
from benchmarks.run.__main__ import ALL_SIZES, PARTS, UNASKED, chosen, main
from benchmarks.run.context import find_device


@pytest.mark.parametrize("arguments", [["--only", "speed,sped"], ["--only", ","], ["--sizes", "S,XL"]])
def test_unknown_names(arguments: Sequence[str]) -> None:
    with pytest.raises(UserError) as error:
        main(arguments)
    for name in PARTS if "--only" in arguments else ALL_SIZES:
        assert name in str(error.value)


def test_the_unknown_name_is_named() -> None:
    with pytest.raises(UserError, match="sped"):
        chosen("speed,sped", PARTS, "--only", "parts")
    assert chosen(" memory ,speed,speed", PARTS, "--only", "parts") == ("memory", "speed")
    assert set(UNASKED) < set(PARTS)


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="this machine has a GPU")
def test_no_gpu() -> None:
    with pytest.raises(UserError, match="--device gpu"):
        find_device("gpu")
