# SPDX-License-Identifier: MIT
"""Waiting on conditions: never for a time, always with an end."""
import os
import time

# Sanitized builds are several times slower; the limits, never the expectations, grow with them.
SLOWNESS = float(os.environ.get("TEST_SLOWNESS", "1"))
POLL_S = 0.01


class NotInTime(AssertionError):
    """The condition did not come true before the limit."""


def wait_until(condition, what="condition", timeout=10.0):
    """Call `condition` until it gives something true, and return that.

    An exception inside counts as "not yet"; the last one is shown when time is up."""
    end = time.monotonic() + timeout * SLOWNESS
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except (OSError, KeyError, IndexError, ValueError, AssertionError) as error:
            last = error
        if time.monotonic() > end:
            raise NotInTime(f"{what}: not within {timeout} s; last: {last!r}")
        time.sleep(POLL_S)
