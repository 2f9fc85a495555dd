"""The weights that the demo starts from; `demo.backbone` makes them."""

from pathlib import Path

PACKAGED = Path(__file__).parent / "videomae_tiny.pth"
