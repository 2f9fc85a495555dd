"""Proof of the clock: generated videos whose true times are known, and what the package makes of them."""
