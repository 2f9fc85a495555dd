"""The settings in the `config.json` of a Hugging Face VideoMAE that its tensors do not show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adatad_jax.conversion.torch_file import CONFIG_FILE
from adatad_jax.errors import UserError
from adatad_jax.models.sizes import CHUNK_FRAMES, SIZES, TUBELET, ViTConfig

NORM_EPS = 1e-12  # default of transformers
HEADS = {size.width: size.heads for name, size in SIZES.items() if name != "tiny"}  # published width -> heads
# The values that the vision transformer here implements, whatever its size; "gelu" is the exact GELU (erf).
COMPUTED = {
    "model_type": "videomae",
    "hidden_act": "gelu",
    "num_channels": 3,
    "num_frames": CHUNK_FRAMES,
    "tubelet_size": TUBELET,
}
# transformers' defaults for fields that a file leaves out.
DEFAULTS: dict[str, Any] = {
    **COMPUTED,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "patch_size": 16,
    "image_size": 224,
    "layer_norm_eps": NORM_EPS,
    "qv_bias": True,
    "decoder_num_attention_heads": 6,
}


@dataclass(frozen=True)
class Settings:
    """The settings that no tensor shows.

    Attributes:
      heads: attention heads.
      image_size: side of the pre-training frames, pixels.
      norm_eps: epsilon of the blocks' norms.
      has_biases: whether the attention has biases on q and v.
      decoder_heads: attention heads of the decoder, if there is one.
    """

    heads: int
    image_size: int
    norm_eps: float
    has_biases: bool
    decoder_heads: int


def read_settings(config: Mapping[str, Any], shown: Mapping[str, int], source: Path) -> Settings:
    """Reads a `config.json`, and checks it against what is computed here and against the tensors beside it.

    Args:
      config: the file's content.
      shown: `hidden_size`, `num_hidden_layers`, `intermediate_size` and `patch_size` according to the tensors.
      source: the file of the weights, for messages.

    Raises:
      UserError: fields do not fit; lists every one with its value and the expected value.
    """
    # Up to version 4.2x of transformers the field was called qkv_bias; it always meant q and v.
    old = {"qv_bias": config["qkv_bias"]} if "qkv_bias" in config else {}
    values = {**DEFAULTS, **config, **old}
    for field in ("image_size", "patch_size"):
        if isinstance(values[field], list) and len(set(values[field])) == 1:
            values[field] = values[field][0]
    width = shown["hidden_size"]
    expected = {**COMPUTED, **shown}
    if width in HEADS:
        expected["num_attention_heads"] = HEADS[width]
    problems = [f"{key}={values[key]!r}, expected {value!r}" for key, value in expected.items() if values[key] != value]
    heads, image_size, eps = values["num_attention_heads"], values["image_size"], values["layer_norm_eps"]
    if not isinstance(heads, int) or heads < 1 or width % heads:
        problems.append(f"num_attention_heads={heads!r}, expected a divisor of {width}")
    if not isinstance(image_size, int) or image_size < 1 or image_size % shown["patch_size"]:
        problems.append(f"image_size={image_size!r}, expected one multiple of the patch size {shown['patch_size']}")
    if not isinstance(eps, float) or not 0 < eps < 1:
        problems.append(f"layer_norm_eps={eps!r}, expected a small positive number")
    decoder_heads = values["decoder_num_attention_heads"]
    if not isinstance(decoder_heads, int) or decoder_heads < 1:
        problems.append(f"decoder_num_attention_heads={decoder_heads!r}, expected a whole number of at least 1")
    if not isinstance(values["qv_bias"], bool):
        problems.append(f"qv_bias={values['qv_bias']!r}, expected true or false")
    if problems:
        raise UserError(
            f"{source}: {len(problems)} fields of {CONFIG_FILE} do not fit the tensors or this implementation:\n  "
            + "\n  ".join(problems)
        )
    return Settings(heads, image_size, eps, values["qv_bias"], decoder_heads)


def model_config(
    encoder: ViTConfig,
    mean_pooling: bool,
    decoder: ViTConfig | None = None,
    classes: Sequence[object] | None = None,
) -> dict[str, Any]:
    """Returns the content of a `config.json` with which transformers makes a network.

    Args:
      encoder: its dimensions.
      mean_pooling: whether there is no norm after the encoder.
      decoder: dimensions of the decoder of an autoencoder.
      classes: names of a classifier's outputs.
    """
    kind = "ForPreTraining" if decoder else "ForVideoClassification" if classes else "Model"
    config: dict[str, Any] = {
        **COMPUTED,
        "architectures": [f"VideoMAE{kind}"],
        "hidden_size": encoder.width,
        "num_hidden_layers": encoder.depth,
        "num_attention_heads": encoder.heads,
        "intermediate_size": encoder.mlp_hidden,
        "patch_size": encoder.patch,
        "image_size": encoder.image_size,
        "layer_norm_eps": encoder.norm_eps,
        "qv_bias": True,
        "use_mean_pooling": mean_pooling,
    }
    if decoder:
        config |= {
            "decoder_hidden_size": decoder.width,
            "decoder_num_hidden_layers": decoder.depth,
            "decoder_num_attention_heads": decoder.heads,
            "decoder_intermediate_size": decoder.mlp_hidden,
            "norm_pix_loss": True,
        }
    if classes:
        names = {str(place): str(name) for place, name in enumerate(classes)}
        config |= {"id2label": names, "label2id": {name: int(place) for place, name in names.items()}}
    return config
