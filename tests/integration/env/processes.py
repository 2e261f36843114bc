# SPDX-License-Identifier: MIT
"""Child processes that cannot outlive the tests, with their output in files."""
import ctypes
import os
import signal
import subprocess

from .waiting import wait_until

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def binary(variable, default):
    """Absolute path of a program of this repository; the environment may name another build."""
    return os.path.abspath(os.path.join(TOP, os.environ.get(variable) or default))


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Died(Exception):
    """A process ended that should be there; no use in waiting on."""


class Process:
    """One child. stdout and stderr go to files in `directory`, so that no pipe can fill up."""

    def __init__(self, argv, directory, name, env=None):
        self.argv = [str(arg) for arg in argv]
        self.stdout_path = os.path.join(directory, f"{name}.out")
        self.stderr_path = os.path.join(directory, f"{name}.err")
        with open(self.stdout_path, "ab") as out, open(self.stderr_path, "ab") as err:
            self.popen = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                env={**os.environ, **(env or {})}, preexec_fn=_die_with_parent, cwd=directory)
        self.pid = self.popen.pid

    @property
    def is_running(self):
        return self.popen.poll() is None

    def check_running(self):
        if not self.is_running:
            raise Died(f"{self.argv} ended with {self.popen.returncode}\n"
                       f"{self.stdout()[-2000:]}\n{self.stderr()[-4000:]}")

    def stdout(self):
        with open(self.stdout_path, errors="replace") as file:
            return file.read()

    def stderr(self):
        with open(self.stderr_path, errors="replace") as file:
            return file.read()

    def signal(self, number):
        if self.is_running:
            os.kill(self.pid, number)

    def freeze(self):
        """SIGSTOP; it returns when all threads stand still."""
        self.signal(signal.SIGSTOP)
        if self.is_running:
            wait_until(self._stands_still, f"{self.pid} to stand still")

    def _stands_still(self):
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{task}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] not in "TtZ":
                    return False
        return True

    def thaw(self):
        self.signal(signal.SIGCONT)

    def kill(self):
        """SIGKILL: the kernel closes its sockets, nothing is said goodbye to."""
        self.signal(signal.SIGKILL)
        return self.popen.wait(timeout=10)

    def terminate(self, timeout=15.0):
        """SIGTERM, and the exit code; SIGKILL when it does not listen."""
        self.thaw()
        self.signal(signal.SIGTERM)
        try:
            wait_until(lambda: not self.is_running, f"end of {self.argv[0]}", timeout)
        except AssertionError:
            self.kill()
            raise
        return self.popen.returncode

    def rss_bytes(self):
        with open(f"/proc/{self.pid}/status") as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        raise ValueError("no VmRSS")

    def open_files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))
