# SPDX-License-Identifier: MIT
"""The memory tier's bound, kept under answers of all sizes: a short `make churn`."""
import os
import subprocess
import sys

import pytest
from env.waiting import SLOWNESS

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


@pytest.mark.skipif(SLOWNESS != 1, reason="a sanitizer's allocator is another")
def test_memory_stays_within_its_bound_under_churn():
    done = subprocess.run([sys.executable, os.path.join(TOP, "tests", "bench", "churn.py")],
                          env={**os.environ, "CHURN_REQUESTS": "20000"}, capture_output=True,
                          text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
