"""Hooks: which, when, with what, and what a failure does."""

import json
import os

import pytest

from harness import wait_for

KINDS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]


@pytest.fixture
def trace(bundle, tmp_path):
    """Each hook appends its kind and the state it got to a file that is seen in- and outside."""
    log = tmp_path / "shared"
    log.mkdir()
    log.chmod(0o777)
    bundle.config["mounts"].append({"destination": str(log), "type": "bind", "source": str(log), "options": ["bind"]})
    busybox = bundle.rootfs / "bin/busybox"

    def add(kind, script=None):
        path = "/bin/busybox" if kind == "startContainer" else str(busybox)
        # One write, for crun runs two kinds at once.
        body = script or f"""text=$(tr -d '\\n'); echo "{kind} $text" >> {log}/log"""
        hook = {"path": path, "args": ["busybox", "sh", "-c", body], "env": [f"PATH=/bin:{bundle.rootfs}/bin"]}
        bundle.config.setdefault("hooks", {}).setdefault(kind, []).append(hook)

    def read():
        lines = (log / "log").read_text().splitlines() if (log / "log").exists() else []
        return [(line.split(" ", 1)[0], json.loads(line.split(" ", 1)[1])) for line in lines if line.strip()]

    return add, read


def test_all_in_order_with_state(runtime, bundle, trace):
    add, read = trace
    for kind in KINDS:
        add(kind)
    bundle.config["annotations"] = {"key": "value"}
    number = runtime.create(bundle.process("sleep", "100"))
    pid = runtime.state(number)["pid"]
    early = runtime.name == "runc"  # which, up to 1.1, runs poststart at the end of create
    assert [kind for kind, _ in read() if not early or kind != "poststart"] == KINDS[:3]
    runtime("start", number)
    wait_for(lambda: len(read()) == 5)
    runtime("delete", "--force", number)
    order = [kind for kind, _ in read()]
    # crun does not wait for startContainer before it runs poststart.
    assert order == KINDS if runtime.name == "corten-runtime" else sorted(order) == sorted(KINDS)
    for kind, state in read():
        assert state["id"] == number, kind
        # crun tells startContainer hooks "/".
        assert state["bundle"] == str(bundle.directory) or (runtime.name, kind) == ("crun", "startContainer"), kind
        assert state["annotations"] == {"key": "value"}, kind
        assert state["ociVersion"], kind
    assert dict(read())["createRuntime"]["pid"] == pid
    assert dict(read())["poststop"]["status"] == "stopped"


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_failing_early_hook_fails_create(runtime, bundle, trace, kind):
    add, _ = trace
    add(kind, "exit 3")
    number = runtime.new_id()
    result = runtime("create", "-b", bundle.save(), number, check=False)
    assert result.returncode != 0
    assert "hook" in result.stderr
    assert runtime("state", number, check=False).returncode != 0


def test_failing_start_hook_ends_the_container(runtime, bundle, trace):
    add, _ = trace
    add("startContainer", "exit 3")
    number = runtime.create(bundle.shell("echo ran > /tmp/mark"))
    code = runtime("start", number, check=False).returncode
    assert code != 0 or runtime.name != "corten-runtime"  # the others do not wait for this hook
    runtime.wait_status(number, "stopped")
    assert not (bundle.rootfs / "tmp/mark").exists()


def test_failing_poststop_hook_does_not_stop_delete(runtime, bundle, trace):
    add, read = trace
    add("poststop", "exit 3")
    number = runtime.create(bundle.process("sleep", "100"))
    runtime("delete", "--force", number)
    assert runtime("state", number, check=False).returncode != 0


def test_hook_that_hangs_is_ended(runtime, bundle, trace):
    add, _ = trace
    add("createRuntime", "exec sleep 60")
    bundle.config["hooks"]["createRuntime"][0]["timeout"] = 1
    assert runtime("create", "-b", bundle.save(), runtime.new_id(), check=False, timeout=20).returncode != 0


def test_hooks_see_the_right_namespace(runtime, bundle, trace, tmp_path):
    add, _ = trace
    own = os.readlink("/proc/self/ns/mnt")
    for kind in ("createRuntime", "createContainer"):
        add(kind, f"readlink /proc/self/ns/mnt > {tmp_path}/shared/{kind}")
    runtime.create(bundle.process("sleep", "100"))
    assert (tmp_path / "shared/createRuntime").read_text().strip() == own
    assert (tmp_path / "shared/createContainer").read_text().strip() != own
