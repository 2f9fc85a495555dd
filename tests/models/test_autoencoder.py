"""The masked autoencoder against torch's, and what the encoder's masked tokens cost."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adatad_jax.conversion.networks import read_autoencoder, write_autoencoder
from adatad_jax.errors import UserError
from adatad_jax.models.autoencoder import MaskedAutoencoder
from adatad_jax.models.backbone import Backbone
from adatad_jax.models.encoder import XAVIER, Encoder
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.models.sizes import DECODERS, SIZES, AutoencoderConfig, ViTConfig
from adatad_jax.pretraining.masking import TubeMasks, draw_tube_masks
from adatad_jax.pretraining.objective import squared_error, targets
from benchmarks import masked_encoder
from tests.conversion import live_models
from tests.models import live_videomae

pytestmark = pytest.mark.usefixtures("fully_compiled")

VIT = ViTConfig(width=32, depth=2, heads=2, mlp_hidden=64, image_size=48)
SMALL = AutoencoderConfig(VIT, dataclasses.replace(VIT, width=16, depth=1))
TOKENS = 8 * 9


def clips(batch: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (batch, 16, 48, 48, 3), dtype=np.uint8)


def masks(batch: int = 2) -> TubeMasks:
    return draw_tube_masks(jax.random.key(0), jnp.arange(batch), 9, 6)


def small_params() -> dict[str, Any]:
    return live_videomae.random_params(MaskedAutoencoder(SMALL), clips(), *masks())


@pytest.mark.parametrize(
    ("mean_pooling", "options"),
    [(False, {}), pytest.param(True, {"policy": MemoryPolicy(remat=True), "unroll": True}, marks=pytest.mark.slow)],
    ids=["encoder norm", "no encoder norm, rematerialised, unrolled"],
)
def test_predictions_loss_and_gradients_are_torchs(mean_pooling: bool, options: dict[str, bool]) -> None:
    live = live_models.make(
        "pre-training", image_size=48, use_mean_pooling=mean_pooling, decoder_num_hidden_layers=2, layer_norm_eps=1e-6
    )
    frames, pixels = live_models.video(live)
    visible, masked = masks()
    output = live(pixels, bool_masked_pos=live_videomae.boolean(np.asarray(masked), TOKENS))
    output.loss.backward()

    config, naming = live_videomae.autoencoder_config(live), live_videomae.naming(live)
    params = read_autoencoder(config, live_videomae.state(live), live_videomae.SOURCE, naming)

    def loss(params: Any) -> tuple[jax.Array, jax.Array]:
        predictions: Any = MaskedAutoencoder(config, **options).apply({"params": params}, frames, visible, masked)
        return squared_error(predictions, targets(frames, masked, config.encoder.patch)).mean(), predictions

    with jax.default_matmul_precision("highest"):
        (value, predictions), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    expected = output.logits.detach().numpy()
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(predictions, expected, rtol=0, atol=5e-5)
    np.testing.assert_allclose(value, output.loss.item(), rtol=0, atol=1e-5)
    ours = write_autoencoder(config, live_videomae.on_host(gradients), naming)
    live_videomae.assert_same_gradients(ours, live, 1e-4)


def test_predictions_depend_on_no_masked_pixel() -> None:
    visible, masked = masks()
    frames, params = clips(), small_params()
    tubelets = np.zeros((2, TOKENS), bool)
    np.put_along_axis(tubelets, np.asarray(masked), True, axis=1)
    hidden = tubelets.reshape(2, 8, 3, 3).repeat(2, 1).repeat(16, 2).repeat(16, 3)
    changed = np.where(hidden[..., None], 255 - frames, frames)
    apply = jax.jit(lambda x: MaskedAutoencoder(SMALL).apply({"params": params}, x, visible, masked))
    np.testing.assert_array_equal(apply(frames), apply(changed))
    assert not np.array_equal(apply(frames), apply(255 - frames))


def test_encoder_of_all_tokens_is_the_backbone() -> None:
    params = small_params()["encoder"]
    del params["norm"]
    features = jax.jit(Backbone(VIT).apply)({"params": params}, clips())
    tokens: Any = jax.jit(Encoder(VIT, False, XAVIER).apply)({"params": params}, clips())
    np.testing.assert_allclose(tokens.reshape(2, 8, 9, 32).mean(2), features, atol=1e-5)


def test_positions_of_a_checkpoint_are_used_by_number_of_the_token() -> None:
    params = jax.tree.map(np.zeros_like, small_params()["encoder"])
    positions = np.arange(TOKENS * 32, dtype=np.float32).reshape(TOKENS, 32)
    visible, _ = masks()
    seen = jax.jit(Encoder(VIT, False, XAVIER).apply)({"params": {**params, "pos_embed": positions}}, clips(), visible)
    np.testing.assert_array_equal(seen, positions[visible])


def test_first_weights_are_those_of_the_published_pre_training() -> None:
    """Linear layers are Xavier-uniform: standard deviation sqrt(2 / (fan_in + fan_out))."""
    wide = dataclasses.replace(VIT, width=128, mlp_hidden=512)
    model = MaskedAutoencoder(AutoencoderConfig(wide, dataclasses.replace(wide, width=96, depth=1)))
    params: Any = jax.jit(model.init)(jax.random.key(0, impl="rbg"), clips(), *masks())["params"]
    block = params["encoder"]["blocks_0_1"]
    for kernel, fans in (
        (block["attn"]["qkv"]["kernel"], 128 + 3 * 128),
        (block["mlp"]["fc1"]["kernel"], 128 + 512),
        (params["decoder"]["head"]["kernel"], 96 + 2 * 16 * 16 * 3),
        (params["encoder_to_decoder"]["kernel"], 128 + 96),
    ):
        assert np.abs(kernel).max() <= (6 / fans) ** 0.5
        np.testing.assert_allclose(np.std(kernel), (2 / fans) ** 0.5, rtol=0.05)
    assert not any(np.any(layer["bias"]) for layer in (block["attn"]["proj"], params["decoder"]["head"]))
    np.testing.assert_allclose(np.std(params["mask_token"]), 0.02, rtol=0.35)  # of 96 values


def test_masked_tokens_cost_nothing() -> None:
    """All operations, as XLA counts them, against the visible tokens' share of the matrix products."""
    config = dataclasses.replace(SIZES["S"], depth=2)
    assert masked_encoder.tokens(config) == (1568, 160)
    # By hand: 160 tokens of 384 channels, products of 1536 * C, 4 C^2 and 8 C^2, and 2 * 160^2 * C for attention.
    products = 2 * 160 * (1536 * 384 + 2 * 12 * 384**2) + 2 * 4 * 160**2 * 384
    assert masked_encoder.share(config) == pytest.approx(products)
    assert products <= masked_encoder.counted(config) <= masked_encoder.ALLOWED * products


def test_published_decoders() -> None:
    assert {name: (d.width, d.depth, d.heads) for name, d in DECODERS.items() if name != "tiny"} == {
        "S": (192, 4, 3),
        "B": (384, 4, 6),
        "L": (512, 12, 8),
        "H": (640, 12, 8),
    }
    assert all(decoder.mlp_hidden == 4 * decoder.width for decoder in DECODERS.values())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match=r"\b14\b.*\b16\b"):
        AutoencoderConfig(SIZES["g"], DECODERS["H"])
    with pytest.raises(ValueError, match=r"\b8\b.*\b16 frames\b"):
        Encoder(VIT, False, XAVIER).init(jax.random.key(0), clips()[:, :8])
    adapted = dataclasses.replace(VIT, tia_blocks=(1,), tia_hidden=8)
    with pytest.raises(ValueError, match=r"\(1,\)"):
        Encoder(adapted, False, XAVIER).init(jax.random.key(0), clips())
