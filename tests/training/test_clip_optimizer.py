"""AdamW of the trainings on clips, beside torch's, and the groups of their parameters."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from adatad_jax.training.clip_optimizer import make_clip_optimizer
from adatad_jax.training.clip_parameters import CLIP_GROUPS, decays, label
from adatad_jax.training.parameters import split

pytestmark = pytest.mark.usefixtures("fully_compiled")


def test_updates_are_those_of_torch() -> None:
    """Three steps of beta2 0.95, in which a matrix decays and a bias does not; the first rate is 0."""
    rates = np.array([0.0, 0.01, 0.02])
    rng = np.random.default_rng(0)
    values = {"kernel": rng.normal(size=(3, 2)).astype(np.float32), "bias": rng.normal(size=2).astype(np.float32)}
    params = {"head": {name: jnp.array(value) for name, value in values.items()}}
    optimizer = make_clip_optimizer(rates, 0.05, beta2=0.95)
    state = optimizer.init(params)
    theirs = {name: torch.tensor(value, requires_grad=True) for name, value in values.items()}
    groups = [{"params": [theirs["kernel"]], "weight_decay": 0.05}, {"params": [theirs["bias"]], "weight_decay": 0.0}]
    torch_optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95))
    for rate in rates:
        gradients = {name: rng.normal(size=value.shape).astype(np.float32) for name, value in values.items()}
        updates, state = optimizer.update({"head": gradients}, state, params)
        params = optax.apply_updates(params, updates)
        for group in torch_optimizer.param_groups:
            group["lr"] = rate
        for name, value in theirs.items():
            value.grad = torch.tensor(gradients[name])
        torch_optimizer.step()
    for name, value in theirs.items():
        np.testing.assert_allclose(params["head"][name], value.detach().numpy(), rtol=2e-6, err_msg=name)


def test_a_limit_of_the_gradient_holds_for_the_global_norm() -> None:
    """A gradient of norm 10 is scaled to 1: the means of Adam then hold a tenth of a tenth."""
    gradient = {"head": {"kernel": jnp.array([[6.0, 8.0]])}}
    optimizer = make_clip_optimizer(np.ones(2), 0.0, clip_norm=1.0)
    _, state = optimizer.update(gradient, optimizer.init(gradient), gradient)
    np.testing.assert_allclose(state[1].mean["head"]["kernel"], [[0.06, 0.08]], rtol=1e-5)


@pytest.mark.parametrize(
    ("path", "group", "decayed"),
    [
        (("encoder", "patch_embed", "kernel"), "encoder", True),
        (("encoder", "pos_embed"), "frozen", False),
        (("encoder", "blocks_0_2", "attn", "q_bias"), "encoder", False),
        (("encoder", "norm", "scale"), "encoder", False),
        (("encoder_to_decoder", "kernel"), "decoder", True),
        (("mask_token",), "decoder", False),
        (("decoder", "head", "bias"), "decoder", False),
        (("fc_norm", "scale"), "head", False),
        (("head", "kernel"), "head", True),
    ],
)
def test_groups_and_decay(path: tuple[str, ...], group: str, decayed: bool) -> None:
    """No decay on biases, norms and the mask token (arXiv 2203.12602, appendix)."""
    assert label(path) == group
    assert decays(path) == decayed


def test_a_parameter_of_no_group_is_an_error() -> None:
    with pytest.raises(ValueError, match="backbone/x"):
        label(("backbone", "x"))


def test_positions_of_a_file_stay_as_they_are() -> None:
    tree = {"encoder": {"pos_embed": np.ones(2), "norm": {"scale": np.ones(2)}}, "mask_token": np.ones(2)}
    trained, frozen = split(tree, CLIP_GROUPS)
    assert frozen == {"encoder": {"pos_embed": tree["encoder"]["pos_embed"]}}
    assert set(trained) == {"encoder", "mask_token"}
