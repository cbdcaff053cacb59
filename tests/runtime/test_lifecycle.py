"""create, start, state, kill, delete, run, list: runtime.md of the specification."""

import json
import os
import signal
import subprocess
import time

import pytest

from harness import wait_for


def test_run_gives_the_exit_code(runtime, bundle):
    assert runtime.run(bundle.process("true")).returncode == 0
    assert runtime.run(bundle.shell("exit 7"), check=False).returncode == 7
    assert runtime.run(bundle.shell("sh -c 'kill -9 $$'; exit $?"), check=False).returncode == 137


def test_run_passes_streams(runtime, bundle):
    result = runtime.run(bundle.shell("cat; echo err >&2"), input=b"through\n")
    assert result.stdout == "through\n"
    assert "err" in result.stderr


def test_run_deletes_at_the_end(runtime, bundle):
    runtime.run(bundle)
    assert runtime("state", runtime.made[-1], check=False).returncode != 0


def test_life_in_steps(runtime, bundle):
    bundle.shell("echo ran > /tmp/mark; exec sleep 100")
    number = runtime.create(bundle, "--pid-file", runtime.directory / "pid")
    state = runtime.state(number)
    assert state["status"] == "created"
    assert state["id"] == number
    assert state["bundle"] == str(bundle.directory)
    assert state["pid"] == int((runtime.directory / "pid").read_text())
    assert not (bundle.rootfs / "tmp/mark").exists()
    runtime("start", number)
    wait_for((bundle.rootfs / "tmp/mark").exists)
    assert runtime.status(number) == "running"
    assert os.readlink(f"/proc/{state['pid']}/exe").endswith("busybox")
    runtime("kill", number, "KILL")
    runtime.wait_status(number, "stopped")
    assert runtime.state(number).get("pid", 0) == 0
    runtime("delete", number)
    assert runtime("state", number, check=False).returncode != 0


def test_created_container_can_be_deleted(runtime, bundle):
    number = runtime.create(bundle.process("sleep", "100"))
    pid = runtime.state(number)["pid"]
    runtime("delete", "--force", number)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}") or open(f"/proc/{pid}/stat").read().split()[2] == "Z")


def test_illegal_moves_are_refused(runtime, bundle):
    bundle.process("sleep", "100")
    number = runtime.start(bundle)
    assert runtime("start", number, check=False).returncode != 0
    assert runtime("delete", number, check=False).returncode != 0
    assert runtime("create", "-b", bundle.save(), number, check=False).returncode != 0
    assert runtime.status(number) == "running"
    runtime("kill", number, "9")
    runtime.wait_status(number, "stopped")
    assert runtime("kill", number, "9", check=False).returncode != 0
    assert runtime("start", number, check=False).returncode != 0
    assert runtime("exec", number, "true", check=False).returncode != 0


def test_unknown_ids(runtime):
    for words in (["state"], ["start"], ["kill"], ["delete"], ["pause"], ["resume"]):
        result = runtime(*words, "nosuch", check=False)
        assert result.returncode != 0, words
        assert result.stderr.strip()
    assert runtime("delete", "--force", "nosuch", check=False).returncode == 0


def test_signals_reach_the_process(runtime, bundle):
    bundle.shell("trap 'exit 5' USR1; echo ready > /tmp/ready; while :; do sleep 0.05; done")
    number = runtime.start(bundle)
    wait_for((bundle.rootfs / "tmp/ready").exists)
    runtime("kill", number, "SIGUSR1")
    runtime.wait_status(number, "stopped")


def test_signals_are_forwarded_by_run(runtime, bundle):
    bundle.shell("trap 'exit 6' TERM; echo ready > /tmp/ready; while :; do sleep 0.05; done")
    process = subprocess.Popen(runtime.command("run", "-b", bundle.save(), runtime.new_id()), stdin=subprocess.DEVNULL)
    wait_for((bundle.rootfs / "tmp/ready").exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 6


def test_kill_all_ends_a_shared_pid_namespace(runtime, bundle):
    bundle.config["linux"]["namespaces"] = [n for n in bundle.config["linux"]["namespaces"] if n["type"] != "pid"]
    bundle.shell("sleep 123456 & echo $! > /tmp/child; exec sleep 100")
    number = runtime.start(bundle)
    wait_for(lambda: (bundle.rootfs / "tmp/child").exists() and (bundle.rootfs / "tmp/child").read_text().strip())
    child = int((bundle.rootfs / "tmp/child").read_text())
    assert os.path.exists(f"/proc/{child}")
    runtime("kill", "--all", number, "KILL")
    wait_for(lambda: not os.path.exists(f"/proc/{child}") or open(f"/proc/{child}/stat").read().split()[2] == "Z")
    runtime.wait_status(number, "stopped")


def test_delete_force_ends_everything(runtime, bundle):
    number = runtime.start(bundle.shell("sleep 100 & sleep 100"))
    pid = runtime.state(number)["pid"]
    runtime("delete", "--force", number)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}") or open(f"/proc/{pid}/stat").read().split()[2] == "Z")


def test_list_shows_containers(runtime, bundle):
    number = runtime.start(bundle.process("sleep", "100"))
    entries = {entry["id"]: entry for entry in json.loads(runtime("list", "-f", "json").stdout)}
    assert entries[number]["status"] == "running"
    assert number in runtime("list").stdout
    assert runtime("list", "-q").stdout.split() == [number]


def test_pause_and_resume(runtime, bundle):
    number = runtime.start(bundle.shell("while :; do date +%s%N > /tmp/now; sleep 0.01; done"))
    now = bundle.rootfs / "tmp/now"
    wait_for(now.exists)
    runtime("pause", number)
    assert runtime.status(number) == "paused"
    before = now.read_text()
    time.sleep(0.1)
    assert now.read_text() == before
    runtime("resume", number)
    assert runtime.status(number) == "running"
    wait_for(lambda: now.read_text() != before)


def test_paused_container_can_be_removed(runtime, bundle):
    number = runtime.start(bundle.process("sleep", "100"))
    runtime("pause", number)
    runtime("delete", "--force", number)


@pytest.mark.parametrize("number", ["", "../x", "a/b", ".", "a b"])
def test_bad_ids_are_refused(runtime, bundle, number):
    assert runtime("create", "-b", bundle.save(), number, check=False).returncode != 0
    assert not runtime.root.exists() or list(runtime.root.iterdir()) == []


def test_start_twice_at_once_runs_once(only_corten, runtime, bundle):
    number = runtime.create(bundle.shell("echo x >> /tmp/count; sleep 100"))
    both = [subprocess.Popen(runtime.command("start", number), stderr=subprocess.DEVNULL) for _ in range(4)]
    codes = sorted(process.wait(10) for process in both)
    assert codes == [0, 1, 1, 1]
    wait_for((bundle.rootfs / "tmp/count").exists)
    assert (bundle.rootfs / "tmp/count").read_text() == "x\n"
