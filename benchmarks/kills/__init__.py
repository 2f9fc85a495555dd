"""Proof that a training loses nothing when it is killed or asked to leave."""
