# SPDX-License-Identifier: MIT
"""Upgrades of the program under test: a process replaces itself by one that we did not start."""
import ctypes
import os
import signal

from .waiting import wait_until

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """What an old process leaves becomes ours, so that its exit code can be read."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


class Adopted:
    """A process that we did not start, in the place of subprocess.Popen."""

    def __init__(self, pid):
        self.pid = pid
        self.returncode = None

    def poll(self):
        if self.returncode is None:
            try:
                pid, how = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # still its own parent's
                if not os.path.exists(f"/proc/{self.pid}"):
                    self.returncode = -1
                return self.returncode
            if pid:
                self.returncode = os.waitstatus_to_exitcode(how)
        return self.returncode

    def wait(self, timeout=10):
        wait_until(lambda: self.poll() is not None, f"end of {self.pid}", timeout)
        return self.returncode


class Generations:
    """The old processes of a proxy; each must end by itself."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.old = []

    def upgrade(self, timeout=15.0):
        seen = len(self.proxy.log("took_over"))
        self.proxy.process.signal(signal.SIGUSR2)
        wait_until(lambda: len(self.proxy.log("took_over")) > seen, "the new process", timeout)
        pid = int(self.proxy.log("took_over")[-1]["pid"])
        self.old.append(self.proxy.process.popen)
        self.proxy.process.popen = Adopted(pid)
        self.proxy.process.pid = pid
        return pid

    def wait_old(self, timeout=20.0):
        for process in self.old:
            wait_until(lambda p=process: p.poll() is not None, "an old process to end", timeout)
            assert process.returncode == 0
        self.old.clear()

    def close(self):
        for process in self.old:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait(timeout=10)
