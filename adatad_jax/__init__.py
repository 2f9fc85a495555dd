"""AdaTAD in JAX and Flax: temporal action detection, end to end, in long untrimmed videos."""
