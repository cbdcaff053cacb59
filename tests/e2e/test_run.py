"""run, create, start: what a container gets, and what its exit says."""

import json
import re

import pytest


def test_output_and_exit_codes(cli):
    assert cli("run", "--rm", "busybox", "echo", "hello") == "hello"
    assert cli.run("run", "--rm", "busybox", "sh", "-c", "exit 7").code == 7
    assert cli.run("run", "--rm", "busybox", "sh", "-c", "sleep 9 & kill -9 $!; wait $!").code == 137
    split = cli.run("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (split.out, split.err) == ("out\n", "err\n")


def test_commands_that_cannot_run(cli):
    missing = cli.run("run", "--rm", "busybox", "no-such-program")
    assert missing.code == 127
    assert 'exec: "no-such-program": executable file not found in $PATH' in missing.err
    not_executable = cli.run("run", "--rm", "busybox", "/etc/passwd")
    assert not_executable.code == 126
    assert "permission denied" in not_executable.err
    assert cli.run("run", "--rm", "busybox", "--no-such-flag-of-the-program").code == 127
    assert cli.run("run", "--no-such-flag", "busybox", "true").code == 125


def test_failed_start_leaves_nothing(cli):
    cli.fails("run", "--rm", "busybox", "no-such-program")
    assert cli("ps", "-aq") == ""


def test_stdin_is_forwarded_and_ends(cli):
    assert cli("run", "--rm", "-i", "busybox", "wc", "-c", input="12345") == "5"
    big = "x" * 1_000_000
    assert cli("run", "--rm", "-i", "busybox", "cat", input=big) == big


def test_detached_prints_the_id(cli):
    identity = cli("run", "-d", "--name", "det", "busybox", "sleep", "100")
    assert re.fullmatch("[0-9a-f]{64}", identity)
    assert cli("ps", "-q", "--no-trunc") == identity
    assert cli("inspect", "-f", "{{.State.Status}} {{.State.Running}}", "det") == "running true"


def test_name_conflict(cli):
    cli("create", "--name", "one", "busybox", "true")
    error = cli.fails("create", "--name", "one", "busybox", "true", code=1 if cli.program.endswith("docker") else None)
    assert 'The container name "/one" is already in use by container' in error


def test_environment(cli, tmp_path):
    (tmp_path / "env").write_text("# comment\nFROM_FILE=1\n")
    out = cli("run", "--rm", "-e", "A=b", "--env-file", tmp_path / "env", "--hostname", "box", "busybox", "env")
    lines = set(out.splitlines())
    assert {"A=b", "FROM_FILE=1", "HOSTNAME=box", "HOME=/root"} <= lines
    assert "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" in lines


@pytest.mark.parametrize(
    "user, expected",
    [
        ("alice", "uid=1000(alice) gid=1000(alice) groups=50(staff),1000(alice)"),
        ("1000:50", "uid=1000(alice) gid=50(staff) groups=50(staff)"),
        ("12345", "uid=12345 gid=0(root) groups=0(root)"),
        ("nobody:wheel", "uid=65534(nobody) gid=10(wheel) groups=10(wheel)"),
    ],
)
def test_user(cli, user, expected):
    assert cli("run", "--rm", "-u", user, "busybox", "id") == expected


def test_bad_users(cli):
    assert "unable to find user mallory: no matching entries in passwd file" in cli.fails("run", "--rm", "-u", "mallory", "busybox", "id")
    cli.fails("run", "--rm", "-u", "4294967296", "busybox", "id")
    cli.fails("run", "--rm", "-u", "2147483648", "busybox", "id")


def test_working_directory_is_made(cli):
    assert cli("run", "--rm", "-w", "/made/for/it", "busybox", "pwd") == "/made/for/it"


def test_entrypoint(cli):
    assert cli("run", "--rm", "--entrypoint", "echo", "busybox", "a", "b") == "a b"


def test_cidfile_and_labels(cli, tmp_path):
    cidfile = tmp_path / "cid"
    cli("run", "-d", "--cidfile", cidfile, "--label", "a=b", "--label", "c", "--annotation", "x=y", "busybox", "sleep", "100")
    config = cli.json("inspect", cidfile.read_text())[0]
    assert config["Config"]["Labels"] == {"a": "b", "c": ""}
    assert config["HostConfig"]["Annotations"] == {"x": "y"}
    assert cli("ps", "-q", "--filter", "label=a=b", "--no-trunc") == cidfile.read_text()
    assert cli("ps", "-q", "--filter", "label=a=other") == ""


def test_init_reaps_and_forwards(cli):
    cli("run", "-d", "--init", "--name", "withinit", "busybox", "sleep", "100")
    assert cli("exec", "withinit", "cat", "/proc/1/comm") != "sleep"
    cli("stop", "-t", "5", "withinit")
    assert cli("inspect", "-f", "{{.State.ExitCode}}", "withinit") == "143"


def test_auto_remove(cli):
    cli("run", "--rm", "--name", "gone", "busybox", "true")
    assert "gone" not in cli("ps", "-a")


def test_wait_conditions(daemon):
    daemon.corten("create", "--name", "www", "busybox", "sh", "-c", "exit 3")
    waiting = daemon.corten.popen("wait", "www", stdout=-1, text=True)
    daemon.corten("start", "www")
    assert waiting.wait(10) == 0
    out = waiting.stdout.read()
    waiting.stdout.close()
    # Waiting for something that is not running answers at once: 0 then, 3 if it had already ended.
    assert out.strip() in ("0", "3")
    assert daemon.corten("wait", "www") == "3"


def test_inspect_is_dockers_shape(daemon, cli):
    cli("run", "-d", "--name", "shape", "-p", "127.0.0.1::80", "-v", "/data", "busybox", "sleep", "100")
    data = cli.json("inspect", "shape")[0]
    for key in ("Id", "Created", "Path", "Args", "State", "Image", "ResolvConfPath", "HostnamePath", "HostsPath", "LogPath",
                "Name", "RestartCount", "Driver", "Platform", "HostConfig", "GraphDriver", "Mounts", "Config", "NetworkSettings"):  # fmt: skip
        assert key in data, key
    assert data["Path"] == "sleep" and data["Args"] == ["100"]
    assert re.search(r"/containers/[0-9a-f]{64}/", data["HostsPath"])
    assert data["Mounts"][0]["Destination"] == "/data" and data["Mounts"][0]["Type"] == "volume"
    published = data["NetworkSettings"]["Ports"]["80/tcp"]
    assert published[0]["HostIp"] == "127.0.0.1" and int(published[0]["HostPort"]) > 0
    assert data["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].startswith(daemon.subnet)
    assert json.loads(cli("inspect", "-f", "{{json .Config.Cmd}}", "shape")) == ["sleep", "100"]
