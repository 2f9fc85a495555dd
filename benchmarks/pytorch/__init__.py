"""AdaTAD in PyTorch: the opponent of `benchmarks.run`, written for speed, and equal to the package by test.

Tensors have the names of the release, so that its checkpoints and exported detectors load (`weights`).
"""
