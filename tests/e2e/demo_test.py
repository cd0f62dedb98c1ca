"""contrib/demo, as the README tells people to run it, but on the binaries that are there."""

import os
import subprocess
from pathlib import Path

import pytest

from labs import why_not

ROOT = Path(__file__).resolve().parents[2]
BUILD = os.environ.get("JITWG_BUILD", str(ROOT / "build" / "release"))


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_the_demo_meets_no_surprise():
    done = subprocess.run([ROOT / "contrib" / "demo", "--build", BUILD], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "SURPRISE" not in done.stderr
    for step in range(1, 9):
        assert f"\n{step}. " in done.stdout


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_the_demo_fails_at_the_first_surprise(tmp_path):
    """Binaries that are none: it must say so and take everything down."""
    done = subprocess.run([ROOT / "contrib" / "demo", "--build", tmp_path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "SURPRISE" in done.stderr
