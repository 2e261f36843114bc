# SPDX-License-Identifier: MIT
"""The guided tour must be true, and must leave nothing behind."""
import os
import signal
import subprocess
import uuid

import pytest
from env.processes import TOP, binary
from env.waiting import SLOWNESS, wait_until


def marked_processes(mark):
    """Processes whose environment carries the mark: the demo's and all it started."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if mark.encode() in file.read():
                    found.append(int(pid))
        except OSError:
            continue
    return found


@pytest.fixture
def demo(tmp_path):
    """Start the demo with a mark that all its children inherit."""
    mark = f"DEMO_MARK={uuid.uuid4()}"
    started = []

    def start():
        env = {**os.environ, "NEARSIDE_BIN": binary("NEARSIDE_BIN", "build/nearside"),
               "POD_BIN": binary("POD_BIN", "build/pod"), "DEMO_MARK": mark.split("=")[1],
               "TMPDIR": str(tmp_path)}
        with open(tmp_path / "out", "wb") as out:
            started.append(subprocess.Popen(["python3", os.path.join(TOP, "scripts/demo.py")],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            env=env))
        started[-1].mark = mark
        started[-1].said = lambda: (tmp_path / "out").read_text()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_the_tour_goes_as_told(demo):
    tour = demo()
    code = tour.wait(timeout=100 * SLOWNESS)
    said = tour.said()
    assert code == 0, said
    assert "0 failed requests" in said
    for step in range(1, 7):
        assert f"{step}. " in said
    assert not marked_processes(tour.mark)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_a_tour_that_is_broken_off(demo, number):
    tour = demo()
    wait_until(lambda: len(marked_processes(tour.mark)) >= 8, "the stage to stand", 20)
    tour.send_signal(number)
    assert tour.wait(timeout=20) != 0
    wait_until(lambda: not marked_processes(tour.mark), "no process left")
