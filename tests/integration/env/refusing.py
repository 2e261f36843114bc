# SPDX-License-Identifier: MIT
"""The edge with a hand on its allocator: tests/refusing/refusing.c."""
import mmap
import os
import struct

from .processes import binary

IS_ON, FAIL_AT, TO_THE_END, CALLS, REFUSED, REFUSED_AT, RIGID_MAX, RIGID_AT = range(8)
PROGRAM = os.path.join(os.path.dirname(binary("NEARSIDE_BIN", "build/nearside")),
                       "nearside_refusing")


class Allocator:
    def __init__(self, path):
        self.path = str(path)
        with open(self.path, "w+b") as file:
            file.write(bytes(mmap.PAGESIZE))
            file.flush()
            self._map = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def options(self):
        """For make_proxy()."""
        return {"program": PROGRAM, "env": {"REFUSE_CONTROL": self.path}}

    def _get(self, field):
        return struct.unpack_from("Q", self._map, 8 * field)[0]

    def _set(self, field, value):
        struct.pack_into("Q", self._map, 8 * field, value)

    def begin(self, fail_at=0, to_the_end=False):
        """Count from now on, and refuse the call of that number."""
        self._set(IS_ON, 0)
        for field in (CALLS, REFUSED, REFUSED_AT, RIGID_MAX, RIGID_AT):
            self._set(field, 0)
        self._set(FAIL_AT, fail_at)
        self._set(TO_THE_END, int(to_the_end))
        self._set(IS_ON, 1)

    def end(self):
        self._set(IS_ON, 0)

    @property
    def calls(self):
        return self._get(CALLS)

    @property
    def refused(self):
        return self._get(REFUSED)

    @property
    def refused_at(self):
        """Where, for addr2line."""
        return hex(self._get(REFUSED_AT))

    @property
    def rigid(self):
        """The largest block that a worker could not do without: (bytes, where)."""
        return self._get(RIGID_MAX), hex(self._get(RIGID_AT))
