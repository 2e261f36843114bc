# SPDX-License-Identifier: MIT
"""What is written by hand about names that the program uses: none may be missing."""
import glob
import os
import re

from env import answers
from env.conf import region
from env.processes import TOP
from env.waiting import wait_until


def page(*names):
    text = ""
    for name in names:
        with open(os.path.join(TOP, "docs", name)) as file:
            text += file.read()
    return text


def sources():
    text = ""
    for path in sorted(glob.glob(os.path.join(TOP, "src", "*", "*.c"))):
        with open(path) as file:
            text += file.read()
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def names_in(value):
    """Every member's name, at any depth."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from names_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from names_in(inner)


def missing(names, text):
    return {name for name in names if f"`{name}`" not in text and f"`{name}[]`" not in text}


def test_every_member_of_the_admin_s_json_is_documented(make_pod, make_proxy, make_redis):
    proxy = make_proxy([region("a", make_pod("a"), redis=make_redis()), region("b", make_pod("b"))])
    answer = proxy.chat(answers.chat("hello"))
    known = f"/explain?id={answer.header('X-Request-Id')}"
    wait_until(lambda: proxy.admin("GET", known).status == 200, "its record")
    for path in ("/status.json", "/history.json", "/events.json", known):
        names = set(names_in(proxy.admin("GET", path).json()))
        assert len(names) > 2, path
        assert not missing(names, page("admin.md")), path


def test_every_error_code_is_documented():
    codes = set(re.findall(r'\.code = "([a-z_]+)"', sources()))
    assert len(codes) > 10
    assert not missing(codes, page("operations.md"))


def test_the_package_is_built_with_what_the_build_takes():
    with open(os.path.join(TOP, "scripts", "deps.sh")) as file:
        wanted = re.search(r'^BUILD="(.*)"$', file.read(), re.MULTILINE).group(1).split()
    with open(os.path.join(TOP, "debian", "control")) as file:
        control = file.read()
    has = re.search(r"^Build-Depends:(.*?)^\S", control, re.DOTALL | re.MULTILINE).group(1)
    essential = {"gcc", "make", "libc6-dev"}  # build-essential's
    assert set(wanted) - essential <= set(re.findall(r"[a-z0-9+.-]+", has))
