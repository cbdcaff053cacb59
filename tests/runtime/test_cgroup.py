"""linux.resources, update, events."""

import json
import os

from harness import group_file


def test_limits_are_in_force(runtime, bundle):
    bundle.config["linux"]["resources"].update(
        memory={"limit": 64 << 20}, pids={"limit": 33}, cpu={"shares": 512, "quota": 50000, "period": 100000})
    number = runtime.create(bundle.process("sleep", "100"))
    assert group_file(number, "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert group_file(number, "pids.max", "pids.max") == "33"
    assert group_file(number, "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"


def test_fork_bomb_is_held(runtime, bundle):
    bundle.config["linux"]["resources"]["pids"] = {"limit": 8}
    result = runtime.run(bundle.shell("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; echo started"), check=False)
    assert "fork" in result.stderr


def test_memory_limit_kills(runtime, bundle):
    bundle.config["linux"]["resources"]["memory"] = {"limit": 16 << 20, "swap": 16 << 20}
    result = runtime.run(bundle.shell("dd if=/dev/zero of=/dev/shm/x bs=1M count=100"), check=False)
    assert result.returncode in (137, 1)


def test_update(runtime, bundle):
    number = runtime.start(bundle.process("sleep", "100"))
    runtime("update", "--memory", str(48 << 20), "--pids-limit", "44", number)
    assert group_file(number, "memory.limit_in_bytes", "memory.max") == str(48 << 20)
    assert group_file(number, "pids.max", "pids.max") == "44"
    runtime("update", "-r", "-", number, input=json.dumps({"pids": {"limit": 55}}).encode())
    assert group_file(number, "pids.max", "pids.max") == "55"
    assert group_file(number, "memory.limit_in_bytes", "memory.max") == str(48 << 20)


def test_devices_are_denied(runtime, bundle):
    bundle.config["process"]["capabilities"] = {kind: ["CAP_MKNOD"] for kind in ("bounding", "effective", "permitted")}
    result = runtime.run(bundle.shell("mknod /tmp/mem c 1 1 && cat /tmp/mem | head -c 1; echo > /dev/null && echo fine"), check=False)
    assert "not permitted" in result.stderr
    assert result.stdout == "fine\n"


def test_allowed_device_can_be_opened(runtime, bundle):
    bundle.config["linux"]["resources"]["devices"].append({"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"})
    bundle.config["linux"]["devices"] = [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]
    result = runtime.run(bundle.shell("exec 3<>/dev/fuse && echo open"), check=False)
    # ENODEV or ENXIO from a kernel without fuse is fine as well: the group let it through.
    assert "not permitted" not in result.stderr


def test_cgroups_path_is_used(runtime, bundle):
    number = runtime.new_id()
    bundle.config["linux"]["cgroupsPath"] = f"/corten-rt-parent-{os.getpid()}/{number}"
    runtime("create", "-b", bundle.process("sleep", "100").save(), number)
    try:
        text = open(f"/proc/{runtime.state(number)['pid']}/cgroup").read()
        assert f"pids:/corten-rt-parent-{os.getpid()}/{number}\n" in text or f"0::/corten-rt-parent-{os.getpid()}/{number}\n" in text
    finally:
        runtime("delete", "--force", number)
        for controller in os.listdir("/sys/fs/cgroup"):
            parent = f"/sys/fs/cgroup/{controller}/corten-rt-parent-{os.getpid()}"
            if os.path.isdir(parent):
                os.rmdir(parent)


def test_stats(runtime, bundle):
    number = runtime.start(bundle.process("sleep", "100"))
    event = json.loads(runtime("events", "--stats", number).stdout)
    assert event["type"] == "stats"
    assert event["id"] == number
    assert event["data"]["pids"]["current"] == 1


def test_groups_made_inside_are_removed(only_corten, runtime, bundle):
    number = runtime.start(bundle.process("sleep", "100"))
    for controller in ("pids", "memory", "freezer"):
        path = f"/sys/fs/cgroup/{controller}/corten-runtime/{number}"
        if os.path.isdir(path):
            os.makedirs(f"{path}/a/b")
    runtime("delete", "--force", number)
    assert runtime.leftovers() == []
