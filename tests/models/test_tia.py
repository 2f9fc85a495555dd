"""The adapters by themselves, with the temporal convolution and without it, against PyTorch."""

import jax
import numpy as np
import pytest
import torch

from adatad_jax.models.tia import TIA

pytestmark = pytest.mark.usefixtures("fully_compiled")

WIDTH, HIDDEN = 12, 4
SHAPE = (2, 5, 3, WIDTH)  # B windows, t tubelets, h*w places, C channels


def drawn(temporal: bool) -> tuple[dict, np.ndarray]:
    """Returns random parameters, gamma among them, and an input."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=SHAPE).astype(np.float32)
    shapes = jax.eval_shape(TIA(HIDDEN, temporal=temporal).init, jax.random.key(0), x)["params"]
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes), x


def linear(x: torch.Tensor, params: dict) -> torch.Tensor:
    kernel, bias = (torch.from_numpy(np.asarray(params[name])) for name in ("kernel", "bias"))
    return torch.nn.functional.linear(x, kernel.T, bias)


@pytest.mark.parametrize("temporal", [True, False], ids=["TIA", "plain"])
def test_an_adapter_computes_what_it_says(temporal: bool) -> None:
    params, x = drawn(temporal)
    u = torch.nn.functional.gelu(linear(torch.from_numpy(x), params["down"]))
    if temporal:
        over_time = u.permute(0, 2, 3, 1).reshape(-1, HIDDEN, SHAPE[1])  # [B*h*w, hidden, t]
        kernel, bias = (torch.from_numpy(np.asarray(params["depthwise"][name])) for name in ("kernel", "bias"))
        convolved = torch.nn.functional.conv1d(over_time, kernel.permute(2, 1, 0), bias, padding=1, groups=HIDDEN)
        u = u + linear(convolved.reshape(SHAPE[0], SHAPE[2], HIDDEN, -1).permute(0, 3, 1, 2), params["pointwise"])
    expected = float(params["gamma"]) * linear(u, params["up"])
    found = TIA(HIDDEN, temporal=temporal).apply({"params": params}, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_plain_adapter_is_its_bottleneck_alone_and_sees_one_token_at_a_time() -> None:
    params, x = drawn(temporal=False)
    assert params.keys() == {"down", "up", "gamma"}
    changed = x.copy()
    changed[1, 2, 0] += 1
    outputs = (TIA(HIDDEN, temporal=False).apply({"params": params}, one) for one in (x, changed))
    differs = np.abs(np.subtract(*outputs)).max(-1) > 0
    assert np.argwhere(differs).tolist() == [[1, 2, 0]]


@pytest.mark.parametrize("temporal", [True, False], ids=["TIA", "plain"])
def test_an_adapter_adds_nothing_at_the_start(temporal: bool) -> None:
    _, x = drawn(temporal)
    found, variables = TIA(HIDDEN, temporal=temporal).init_with_output(jax.random.key(0), x)
    assert variables["params"]["gamma"] == 1
    assert not np.any(found)
