"""Converts a PyTorch checkpoint to Flax parameters; `--help` says how."""

from adatad_jax.commands.convert import entry, main

__all__ = ["main"]

if __name__ == "__main__":
    entry()
