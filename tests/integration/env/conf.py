# SPDX-License-Identifier: MIT
"""Config files from Python values: a dict becomes libconfig text."""


def scalar(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def value_text(value, indent):
    pad = "    " * (indent + 1)
    if isinstance(value, dict):
        inner = "".join(f"{pad}{key} = {value_text(item, indent + 1)};\n"
                        for key, item in value.items())
        return "{\n" + inner + "    " * indent + "}"
    if isinstance(value, (list, tuple)):
        if any(isinstance(item, dict) for item in value):
            items = (",\n" + pad).join(value_text(item, indent + 1) for item in value)
            return "(\n" + pad + items + "\n" + "    " * indent + ")"
        return "[ " + ", ".join(scalar(item) for item in value) + " ]"
    return scalar(value)


def to_text(tree):
    return "".join(f"{key} = {value_text(value, 0)};\n" for key, value in tree.items())


def merged(base, over):
    """`base` with `over` laid on top, group by group; None removes a key."""
    result = dict(base)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


# What tests want unless they say otherwise: quick probes, loopback, kernel-chosen ports.
BASE = {
    "edge": {"id": "test", "workers": 2, "drain_timeout_s": 5},
    "listeners": [{"bind": "127.0.0.1:0"}],
    "admin": {"bind": "127.0.0.1:0"},
    "log": {"level": "info", "format": "json", "file": "nearside.log",
            "access_file": "access.log"},
    "health": {"interval_ms": 200, "fast_interval_ms": 100, "timeout_ms": 400, "fall": 2,
               "rise": 1},
    "routing": {"dwell_s": 1},
    "cache": {"enabled": False},
}


def region(name, pods, redis=None, **more):
    """A region's group. `pods`: Pod objects, URLs, or one of them."""
    if not isinstance(pods, (list, tuple)):
        pods = [pods]
    group = {"name": name, "endpoints": [getattr(pod, "url", pod) for pod in pods]}
    if redis is not None:
        group["redis"] = redis.url
        if redis.password:
            group["redis_password"] = redis.password
        if redis.user:
            group["redis_user"] = redis.user
    return {**group, **more}
