"""The whole course on clips of real people: masked pre-training, classification and detection, on public data."""
