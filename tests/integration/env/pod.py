# SPDX-License-Identifier: MIT
"""A simulated inference pod (tests/pod) and its control door."""
from . import raw
from .ports import Port
from .processes import Process, binary
from .waiting import wait_until


class Pod:
    def __init__(self, directory, name, scheme="http", **options):
        self.name = name
        self.scheme = scheme
        self.options = options
        self.directory = str(directory)
        self._port = Port()
        self.port = self._port.number
        self.process = None
        self.control_port = None
        self.start()

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def start(self):
        """Start (again), on the same port."""
        argv = [binary("POD_BIN", "build/pod"), "--name", self.name, "--port", self.port,
                "--control-port", 0]
        for key, value in self.options.items():
            argv.append("--" + key.replace("_", "-"))
            if value is not True:
                argv.append(value)
        self.process = Process(argv, self.directory, f"pod-{self.name}-{self.port}")

        def control_line():
            self.process.check_running()
            for line in reversed(self.process.stdout().splitlines()):
                if line.startswith("control "):
                    return int(line.rsplit(":", 1)[1])
            return None

        self.control_port = wait_until(control_line, f"pod {self.name} to listen")

    def restart(self):
        self.stop()
        self.start()

    def stop(self):
        if self.process.is_running:
            self.process.kill()
        open(self.process.stdout_path, "w").close()

    def kill(self):
        self.stop()

    def freeze(self):
        """Connects still succeed (the kernel's backlog), nothing is answered: a vanished pod."""
        self.process.freeze()

    def thaw(self):
        self.process.thaw()

    def close(self):
        self.stop()
        self._port.release()

    def control(self, **change):
        """Change faults or delays (`fault="cut:3"`, `path_delay_ms=40`) and return the counters."""
        response = raw.one_request(self.control_port, "POST", "/control", change)
        assert response.status == 200, response
        return response.json()

    def fault(self, fault, **more):
        return self.control(fault=fault, **more)

    def heal(self):
        return self.control(fault="none", health=False)

    def counters(self):
        return raw.one_request(self.control_port, "GET", "/control").json()

    def wait_counter(self, name, value, timeout=10.0):
        """Wait until a counter is at least `value`."""
        return wait_until(lambda: self.counters()[name] >= value,
                          f"{name} of pod {self.name} to reach {value}", timeout)

    def wait_idle(self, timeout=10.0):
        return wait_until(lambda: self.counters()["active"] == 0,
                          f"pod {self.name} to have no request", timeout)
