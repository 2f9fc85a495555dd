"""The groups of parameters of the two networks on clips: masked autoencoder and classifier."""

from adatad_jax.training.parameters import FROZEN, HEAD, Grouping, Path

ENCODER, DECODER = "encoder", "decoder"


def label(path: Path) -> str:
    """Returns the group of a parameter: `FROZEN`, `ENCODER`, `DECODER` or `HEAD`.

    Positions that came with the weights stay as they are, as the sinusoids do that stand for them elsewhere.

    Args:
      path: names from the root of the whole tree to the parameter.

    Raises:
      ValueError: the path belongs to no group; there is no default.
    """
    if path[0] == "encoder":
        return FROZEN if path[1] == "pos_embed" else ENCODER
    if path[0] in ("encoder_to_decoder", "mask_token", "decoder"):
        return DECODER
    if path[0] in ("fc_norm", "head"):
        return HEAD
    raise ValueError(f"parameter {'/'.join(path)} belongs to no optimiser group")


def decays(path: Path) -> bool:
    """Tells whether weight decay applies to a parameter: to matrices, not to biases, norms and the mask token."""
    return path[-1] == "kernel"


CLIP_GROUPS = Grouping(label, decays, (FROZEN, ENCODER, DECODER, HEAD))
