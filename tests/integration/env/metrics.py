# SPDX-License-Identifier: MIT
"""Prometheus text, read strictly."""
import re

_SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')


class Metrics:
    def __init__(self, text):
        self.text = text
        self.samples = []
        self.types = {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name not in self.types, f"family {name} stands twice"
                self.types[name] = kind
            elif line and not line.startswith("#"):
                match = _SAMPLE.match(line)
                assert match, f"not a sample: {line!r}"
                labels = dict(_LABEL.findall(match.group(2) or ""))
                self.samples.append((match.group(1), labels, float(match.group(3))))

    def find(self, name, labels=None):
        labels = labels or {}
        return [value for sample, has, value in self.samples
                if sample == name and all(has.get(key) == want for key, want in labels.items())]

    def value(self, name, labels=None):
        """The sum over all samples with (at least) these labels; 0 when there is none."""
        return sum(self.find(name, labels))
