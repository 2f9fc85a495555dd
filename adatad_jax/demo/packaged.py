"""The weights that the demo starts from; `demo.backbone` makes them."""

from pathlib import Path

WEIGHTS_FILE = "videomae_tiny.pth"
PACKAGED = Path(__file__).parent / WEIGHTS_FILE
