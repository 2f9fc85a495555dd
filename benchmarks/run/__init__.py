"""The benchmark: time, memory, operations and start-up of this package, beside PyTorch on the same work."""
