"""Self-attention among the tokens of a clip, by the best means of each backend; all of them compute the same.

No means holds the weights `[N, heads, tokens, tokens]` of all clips, forward or backward: the backward pass computes
them anew, part by part, from the logarithms of the softmax's sums.
"""

import functools
import logging

import jax
import jax.numpy as jnp

_logger = logging.getLogger(__name__)


def plain_attention(qkv: jax.Array, heads: int) -> jax.Array:
    """Computes softmax attention among the tokens of each clip, as it is defined; the other functions equal this one.

    The softmax is in float32.

    Args:
      qkv: `[N, tokens, 3*C]`: q, k and v of each token; head i owns channels `i*C/heads` to `(i+1)*C/heads` of each.
      heads: their number.

    Returns:
      `[N, tokens, C]` of the dtype of `qkv`.
    """
    q, k, v = _split(qkv, heads)
    logits = jnp.einsum("nqhd,nkhd->nhqk", q * q.shape[-1] ** -0.5, k)
    weights = jax.nn.softmax(logits.astype(jnp.float32)).astype(qkv.dtype)
    out: jax.Array = jnp.einsum("nhqk,nkhd->nqhd", weights, v).reshape(*qkv.shape[:2], -1)
    return out


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def chunk_attention(qkv: jax.Array, heads: int) -> jax.Array:
    """Computes `plain_attention` by what is best on the device for which the program is lowered.

    - A CPU has two heads of a clip at work at a time: their weights stay in its cache.
    - A CUDA GPU has cuDNN's flash attention, for half precision.
    - Others, and float32 on a GPU, have all heads of a clip at work at a time, which fills the matrix units. (The flash
      attention of TPUs wants tokens in multiples of 128; a chunk of 160 px has 800.)
    """
    return _forward(qkv, heads)[0]


def _forward(qkv: jax.Array, heads: int) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    """Returns the output, and what the backward pass needs: the input, the output, and the logarithms of the sums."""
    pair = functools.partial(_attend, heads=heads, at_once=_pair(heads))
    clip = functools.partial(_attend, heads=heads, at_once=heads)
    flash = functools.partial(_flash, heads=heads) if _has_flash(qkv, heads) else clip
    out, log_sums = jax.lax.platform_dependent(qkv, cpu=pair, cuda=flash, default=clip)
    return out, (qkv, out, log_sums)


def _backward(heads: int, kept: tuple[jax.Array, jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array]:
    """Returns the gradient of the input from that of the output."""
    pair = functools.partial(_attend_backward, heads=heads, at_once=_pair(heads))
    clip = functools.partial(_attend_backward, heads=heads, at_once=heads)
    flash = functools.partial(_flash_backward, heads=heads) if _has_flash(kept[0], heads) else clip
    result: jax.Array = jax.lax.platform_dependent(*kept, gradient, cpu=pair, cuda=flash, default=clip)
    return (result,)


chunk_attention.defvjp(_forward, _backward)


def _pair(heads: int) -> int:
    return 2 - heads % 2


def _split(qkv: jax.Array, heads: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Splits `[N, tokens, 3*C]` into q, k and v, `[N, tokens, heads, C/heads]` each."""
    parts = qkv.reshape(*qkv.shape[:2], 3, heads, -1)
    return parts[:, :, 0], parts[:, :, 1], parts[:, :, 2]


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    """Multiplies stacks of matrices, in float32 whatever their dtype."""
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)


def _attend(qkv: jax.Array, heads: int, at_once: int) -> tuple[jax.Array, jax.Array]:
    """Computes attention of `at_once` heads of a clip at a time.

    Returns:
      The output `[N, tokens, C]`, and the logarithms of the softmax's sums, `[N, heads, tokens]` float32.
    """
    n, tokens, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    dim, parts = width // heads, heads // at_once
    cut = qkv.reshape(n, tokens, 3, parts, at_once * dim)

    def body(done: tuple[jax.Array, jax.Array], index: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
        clip, part = index // parts, index % parts
        q, k, v = _heads(cut, clip, part, at_once)
        logits = _product(q * dim**-0.5, k.mT)
        most = logits.max(-1, keepdims=True)
        weights = jnp.exp(logits - most)
        total = weights.sum(-1, keepdims=True)
        out = _product(weights.astype(v.dtype), v) / total
        out = out.astype(qkv.dtype).swapaxes(0, 1).reshape(1, tokens, 1, at_once * dim)
        log_sums = (most + jnp.log(total)).reshape(1, 1, at_once, tokens)
        outs, sums = done
        return (
            jax.lax.dynamic_update_slice(outs, out, (clip, 0, part, 0)),
            jax.lax.dynamic_update_slice(sums, log_sums, (clip, part, 0, 0)),
        ), None

    start = (
        jnp.zeros((n, tokens, parts, at_once * dim), qkv.dtype),
        jnp.zeros((n, parts, at_once, tokens), jnp.float32),
    )
    (out, log_sums), _ = jax.lax.scan(body, start, jnp.arange(n * parts))
    return out.reshape(n, tokens, width), log_sums.reshape(n, heads, tokens)


def _attend_backward(
    qkv: jax.Array, out: jax.Array, log_sums: jax.Array, gradient: jax.Array, heads: int, at_once: int
) -> jax.Array:
    """Computes the gradient of `_attend`'s input, `[N, tokens, 3*C]`; the weights are computed anew."""
    n, tokens, width = out.shape
    dim, parts = width // heads, heads // at_once
    cut = qkv.reshape(n, tokens, 3, parts, at_once * dim)
    outs, gradients = (x.reshape(n, tokens, 1, parts, at_once * dim) for x in (out, gradient))
    sums = log_sums.reshape(n, parts, at_once, tokens)

    def body(done: jax.Array, index: jax.Array) -> tuple[jax.Array, None]:
        clip, part = index // parts, index % parts
        q, k, v = _heads(cut, clip, part, at_once)
        ((its_out,), (its_gradient,)) = (_heads(x, clip, part, at_once) for x in (outs, gradients))
        log_sum = jax.lax.dynamic_slice(sums, (clip, part, 0, 0), (1, 1, at_once, tokens)).reshape(at_once, tokens, 1)
        q = q * dim**-0.5
        weights = jnp.exp(_product(q, k.mT) - log_sum)
        mean = (its_gradient.astype(jnp.float32) * its_out).sum(-1, keepdims=True)
        change = (weights * (_product(its_gradient, v.mT) - mean)).astype(q.dtype)
        of_v = _product(weights.astype(q.dtype).mT, its_gradient)
        of_qkv = jnp.stack([_product(change, k) * dim**-0.5, _product(change.mT, q), of_v])
        of_qkv = of_qkv.astype(qkv.dtype).transpose(2, 0, 1, 3).reshape(1, tokens, 3, 1, at_once * dim)
        return jax.lax.dynamic_update_slice(done, of_qkv, (clip, 0, 0, part, 0)), None

    result, _ = jax.lax.scan(body, jnp.zeros_like(cut), jnp.arange(n * parts))
    return result.reshape(qkv.shape)


def _heads(cut: jax.Array, clip: jax.Array, part: jax.Array, at_once: int) -> tuple[jax.Array, ...]:
    """Takes some heads of a clip out of `[N, tokens, M, parts, at_once*dim]`: M arrays `[at_once, tokens, dim]`."""
    tokens, many, width = cut.shape[1], cut.shape[2], cut.shape[4]
    taken = jax.lax.dynamic_slice(cut, (clip, 0, 0, part, 0), (1, tokens, many, 1, width))
    taken = taken.reshape(tokens, many, at_once, width // at_once)
    return tuple(taken[:, i].swapaxes(0, 1) for i in range(many))


def _flash(qkv: jax.Array, heads: int) -> tuple[jax.Array, jax.Array]:
    """Computes attention by cuDNN; returns what `_attend` does."""
    q, k, v = _split(qkv, heads)
    out, log_sums = jax.nn.dot_product_attention(q, k, v, implementation="cudnn", return_residual=True)
    return out.reshape(*out.shape[:2], -1), log_sums.astype(jnp.float32).swapaxes(1, 2)


def _flash_backward(qkv: jax.Array, out: jax.Array, log_sums: jax.Array, gradient: jax.Array, heads: int) -> jax.Array:
    """Computes the gradient by cuDNN.

    The forward pass that it repeats is the one that the recomputation of a block repeats too: XLA keeps one of them.
    Where activations are kept, it is one more pass of attention per block.
    """
    del out, log_sums  # cuDNN's own are in its own form
    _, pull = jax.vjp(lambda x: _flash(x, heads)[0], qkv)
    result: jax.Array = pull(gradient)[0]
    return result


def _has_flash(qkv: jax.Array, heads: int) -> bool:
    """Tells whether cuDNN is here and takes the dtype and the size of the heads; says once if not, on a GPU."""
    try:
        jax.eval_shape(functools.partial(_flash, heads=heads), qkv)
    except RuntimeError as error:  # a NotImplementedError is one, too
        if jax.default_backend() == "gpu" and qkv.dtype != jnp.float32:
            _say_without_flash(str(qkv.dtype), str(error))
        return False
    return True


@functools.cache
def _say_without_flash(dtype: str, why: str) -> None:
    _logger.warning(
        "attention in %s is computed without cuDNN's flash attention (%s): the results are the same, and a step takes "
        "longer; if it is missing, install JAX with NVIDIA's libraries, jax[cuda13]",
        dtype,
        why,
    )
