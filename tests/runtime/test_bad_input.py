"""Configurations that are wrong: a one-line error, a non-zero exit, nothing left."""

import json
import os

import pytest

BAD = {
    "not json": lambda c: "{",
    "not an object": lambda c: "[]",
    "wrong type": lambda c: {**c, "process": []},
    "no process": lambda c: {k: v for k, v in c.items() if k != "process"},
    "no root": lambda c: {k: v for k, v in c.items() if k != "root"},
    "no args": lambda c: {**c, "process": {**c["process"], "args": []}},
    "relative cwd": lambda c: {**c, "process": {**c["process"], "cwd": "tmp"}},
    "missing root": lambda c: {**c, "root": {"path": "nosuch"}},
    "unknown namespace": lambda c: {**c, "linux": {**c["linux"], "namespaces": [{"type": "nosuch"}]}},
    "namespace twice": lambda c: {**c, "linux": {**c["linux"], "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "pid"}]}},
    "unknown rlimit": lambda c: {**c, "process": {**c["process"], "rlimits": [{"type": "RLIMIT_X", "soft": 1, "hard": 1}]}},
    "missing bind source": lambda c: {**c, "mounts": [*c["mounts"], {"destination": "/x", "type": "bind", "source": "/nosuch",
                                                                     "options": ["bind"]}]},
    "host sysctl": lambda c: {**c, "linux": {**c["linux"], "sysctl": {"kernel.panic": "1"}}},
    "bad mapping": lambda c: {**c, "linux": {**c["linux"], "namespaces": [*c["linux"]["namespaces"], {"type": "user"}],
                                             "uidMappings": [], "gidMappings": []}},
    "bad memory": lambda c: {**c, "linux": {**c["linux"], "resources": {"memory": {"limit": "lots"}}}},
    "bad seccomp": lambda c: {**c, "linux": {**c["linux"], "seccomp": {"defaultAction": "SCMP_ACT_NOSUCH"}}},
    "big uid": lambda c: {**c, "process": {**c["process"], "user": {"uid": 4294967296, "gid": 0}}},
}
# Taken by an older runc or crun.
TOLERATED = {("crun", "relative cwd"), ("crun", "namespace twice"), ("runc", "big uid"), ("crun", "big uid"), ("crun", "host sysctl"),
             ("crun", "unknown rlimit"), ("crun", "bad memory"), ("crun", "bad mapping")}


@pytest.mark.parametrize("case", list(BAD))
def test_is_refused_and_leaves_nothing(runtime, bundle, case):
    if (runtime.name, case) in TOLERATED:
        pytest.skip(f"{runtime.name} takes it")
    bundle.save()
    broken = BAD[case](bundle.config)
    (bundle.directory / "config.json").write_text(broken if isinstance(broken, str) else json.dumps(broken))
    result = runtime("run", "-b", str(bundle.directory), runtime.new_id(), check=False)
    assert result.returncode != 0
    assert result.stderr.strip()
    if runtime.name == "corten-runtime":
        assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert runtime.leftovers() == []


def test_hostile_rootfs_keeps_mounts_inside(runtime, bundle, tmp_path):
    """Mount points in the image that are links to the host."""
    outside = tmp_path / "outside"
    outside.mkdir()
    os.rmdir(bundle.rootfs / "proc")
    (bundle.rootfs / "escape").symlink_to(outside)
    (bundle.rootfs / "dotdot").symlink_to("../../../../../../../../../.." + str(outside))
    (bundle.rootfs / "proc").mkdir()
    bundle.config["mounts"] += [
        {"destination": "/escape/a", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/dotdot/b", "type": "tmpfs", "source": "tmpfs"},
    ]
    runtime.run(bundle, check=False)
    assert list(outside.iterdir()) == []


def test_unknown_flags_and_commands(only_corten, runtime):
    for words in (["nosuch"], ["create", "--nosuch", "x"], ["checkpoint", "x"], ["kill", "x", "NOSUCH"], ["state"], ["state", "a", "b"],
                  ["list", "-f", "xml"], ["events", "--interval", "0s", "x"]):
        result = runtime(*words, check=False)
        assert result.returncode == 1, words
        assert len(result.stderr.strip().splitlines()) == 1, words


def test_errors_reach_the_log_file(runtime, tmp_path):
    log = tmp_path / "log"
    import subprocess
    command = [*runtime.program, "--root", str(runtime.root), "--log", str(log), "--log-format", "json", "start", "nosuch"]
    assert subprocess.run(command, capture_output=True).returncode != 0
    entry = json.loads(log.read_text().splitlines()[-1])
    assert entry["level"] == "error"
    assert entry["msg"]


def test_features_and_spec(runtime, bundle, tmp_path):
    if runtime.name == "runc" or runtime.name == "corten-runtime":
        features = json.loads(runtime("features").stdout)
        assert "pid" in features["linux"]["namespaces"]
        assert features["ociVersionMax"]
    runtime("spec", cwd=tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert runtime("spec", cwd=tmp_path, check=False).returncode != 0
    config["process"]["terminal"] = False
    config["process"]["args"] = ["true"]
    config["process"]["rlimits"] = []
    config["root"]["path"] = str(bundle.rootfs)
    bundle.config = config
    runtime.run(bundle)
