"""The loss curve does not depend on the number of devices."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.mark.slow
def test_one_two_four_and_eight_devices_have_one_loss_curve() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.training.curves"], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    curves = json.loads(run.stdout)
    assert np.ptp(curves["1"]) > 0.01
    for count in ("2", "4", "8"):
        np.testing.assert_allclose(curves[count], curves["1"], rtol=1e-5, err_msg=f"{count} devices")
