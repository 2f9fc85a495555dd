"""Writes a trained model for PyTorch; `--help` says how."""

from adatad_jax.commands.export import entry, main

__all__ = ["main"]

if __name__ == "__main__":
    entry()
