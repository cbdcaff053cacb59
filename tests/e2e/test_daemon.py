"""The daemon itself: restarts, kill -9, wedged containers, several side by side, configuration."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest
from conftest import BIN, wait_until


def test_containers_outlive_a_killed_daemon(make_daemon):
    daemon = make_daemon()
    cli = daemon.corten
    cli("run", "-d", "--name", "web", "-p", "127.0.0.1::80", "busybox", "sh", "-c",
        "mkdir /w; echo page > /w/index.html; httpd -p 80 -h /w; i=0; while :; do echo line $i; i=$((i+1)); sleep 0.02; done")  # fmt: skip
    cli("run", "-d", "--name", "ends", "busybox", "sh", "-c", "sleep 0.4; exit 42")
    cli("run", "-d", "--name", "again", "--restart", "always", "busybox", "sh", "-c", "sleep 0.3")
    pid = cli("inspect", "-f", "{{.State.Pid}}", "web")
    port = json.loads(cli("inspect", "-f", "{{json .NetworkSettings.Ports}}", "web"))["80/tcp"][0]["HostPort"]
    daemon.kill()
    time.sleep(1)  # the time in which nobody is there
    subprocess.run(["curl", "-fsS", f"http://127.0.0.1:{port}/"], check=True, capture_output=True)
    daemon.start()
    assert cli("inspect", "-f", "{{.State.Pid}} {{.State.Status}}", "web") == f"{pid} running"
    assert cli("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "ends") == "exited 42"
    wait_until(lambda: cli("inspect", "-f", "{{.State.Status}}", "again") in ("running", "restarting"), 10, "the restart policy")
    lines = cli("logs", "web").split("\n")
    assert lines == [f"line {n}" for n in range(len(lines))], "output was lost"
    assert subprocess.run(["curl", "-fsS", f"http://127.0.0.1:{port}/"], check=True, capture_output=True, text=True).stdout == "page\n"
    assert cli("exec", "web", "echo", "in") == "in"
    assert port in cli("port", "web")
    cli("rm", "-f", "web")
    assert subprocess.run(["curl", "-fsS", "-m", "1", f"http://127.0.0.1:{port}/"], capture_output=True).returncode != 0


def test_clean_stop_leaves_containers_and_finds_them(make_daemon):
    daemon = make_daemon()
    daemon.corten("run", "-d", "--name", "stays", "busybox", "sleep", "100")
    pid = daemon.corten("inspect", "-f", "{{.State.Pid}}", "stays")
    assert daemon.stop() == 0
    assert os.path.exists(f"/proc/{pid}")
    daemon.start()
    assert daemon.corten("inspect", "-f", "{{.State.Pid}}", "stays") == pid


def test_without_live_restore_containers_stop_with_the_daemon(make_daemon):
    daemon = make_daemon("--live-restore=false", "--shutdown-timeout", "2")
    daemon.corten("run", "-d", "--name", "sss", "busybox", "sleep", "100")
    daemon.corten("run", "-d", "--name", "rrr", "--restart", "unless-stopped", "busybox", "sleep", "100")
    pid = daemon.corten("inspect", "-f", "{{.State.Pid}}", "sss")
    assert daemon.stop() == 0
    assert not os.path.exists(f"/proc/{pid}")
    daemon.start()
    assert daemon.corten("inspect", "-f", "{{.State.Status}}", "sss") == "exited"
    wait_until(lambda: daemon.corten("inspect", "-f", "{{.State.Status}}", "rrr") == "running", 10, "unless-stopped")


def test_a_stop_of_the_daemon_waits_for_no_request_for_ever(make_daemon):
    daemon = make_daemon()
    daemon.corten("run", "-d", "--name", "deaf", "busybox", "sh", "-c", "trap '' TERM; while :; do sleep 1; done")
    stuck = daemon.corten.popen("stop", "-t", "60", "deaf", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    events = daemon.corten.popen("events", "--since", "1h", "--filter", "event=kill", stdout=subprocess.PIPE, text=True)
    assert "signal=15" in events.stdout.readline()  # the request is on its way
    events.kill()
    events.communicate()
    begin = time.monotonic()
    assert daemon.stop() == 0 and time.monotonic() - begin < 10
    stuck.wait()
    daemon.start()
    assert daemon.corten("inspect", "-f", "{{.State.Status}}", "deaf") == "running"


def test_images_and_volumes_outlive_the_daemon(make_daemon):
    daemon = make_daemon()
    daemon.corten("run", "--name", "ccc", "-v", "kept:/v", "busybox", "sh", "-c", "echo x > /v/f; echo y > /g")
    daemon.corten("commit", "ccc", "made:1")
    daemon.kill()
    daemon.start()
    assert daemon.corten("run", "--rm", "-v", "kept:/v", "made:1", "cat", "/v/f", "/g").split() == ["x", "y"]


def test_a_killed_shim_takes_its_container_along(make_daemon):
    daemon = make_daemon()
    cli = daemon.corten
    cli("run", "-d", "--name", "kkk", "busybox", "sh", "-c", "sleep 1000 & sleep 1000")
    pid = int(cli("inspect", "-f", "{{.State.Pid}}", "kkk"))
    shim = int(next(line for line in open(f"/proc/{pid}/status") if line.startswith("PPid")).split()[1])
    os.kill(shim, signal.SIGKILL)
    wait_until(lambda: cli("inspect", "-f", "{{.State.Status}}", "kkk") == "exited", 10, "the exit")
    assert cli("inspect", "-f", "{{.State.ExitCode}}", "kkk") != "0"
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), 5, "the container's process to be gone")
    cli("start", "kkk")
    assert cli("inspect", "-f", "{{.State.Status}}", "kkk") == "running"


def test_a_wedged_shim_holds_up_nobody(make_daemon):
    daemon = make_daemon()
    cli = daemon.corten
    cli("run", "-d", "--name", "wedged", "busybox", "sleep", "1000")
    cli("run", "-d", "--name", "fine", "busybox", "sleep", "1000")
    pid = int(cli("inspect", "-f", "{{.State.Pid}}", "wedged"))
    shim = int(next(line for line in open(f"/proc/{pid}/status") if line.startswith("PPid")).split()[1])
    os.kill(shim, signal.SIGSTOP)
    try:
        stuck = cli.popen("exec", "wedged", "true", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        reader = cli.popen("attach", "wedged", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        begin = time.monotonic()
        assert "wedged" in cli("ps")
        cli("inspect", "wedged")
        assert cli("exec", "fine", "echo", "ok") == "ok"
        cli("run", "--rm", "busybox", "true")
        cli("rm", "-f", "fine")
        assert time.monotonic() - begin < 3
        # Those who wait for it are told before long, and what to do. (An attach goes on waiting for the exit code.)
        for waiting in (stuck, reader):
            assert f"(pid {shim}) is stopped; continue it with kill -CONT {shim}" in waiting.stdout.readline()
        assert stuck.wait(timeout=5) == 126
        assert time.monotonic() - begin < 8
        reader.kill()
        reader.wait()
    finally:
        os.kill(shim, signal.SIGCONT)
    cli("rm", "-f", "wedged")


def test_without_a_default_network(make_daemon, busybox_tar):
    daemon = make_daemon(start=False)
    arguments = daemon.arguments
    daemon.arguments = lambda: [a for a in arguments() if a not in ("--bip", f"{daemon.subnet}.1/24")] + ["--bridge", "none"]
    daemon.start()
    daemon.corten("import", busybox_tar, "busybox")
    assert "network bridge not found" in daemon.corten.fails("run", "--rm", "busybox", "true")
    assert daemon.corten("run", "--rm", "--network", "none", "--add-host", "a:1.2.3.4", "busybox", "echo", "ok") == "ok"
    assert daemon.corten("run", "--rm", "--network", "host", "busybox", "echo", "ok") == "ok"


def test_two_daemons_side_by_side(make_daemon):
    one, two = make_daemon(), make_daemon()
    one.corten("run", "-d", "--name", "same", "busybox", "sleep", "100")
    two.corten("run", "-d", "--name", "same", "busybox", "sleep", "100")
    assert one.corten("ps", "-q") != two.corten("ps", "-q")
    one.corten("rm", "-f", "same")
    assert two.corten("exec", "same", "echo", "alive") == "alive"


def test_one_data_root_one_daemon(make_daemon):
    daemon = make_daemon()
    second = subprocess.run([*daemon.arguments()[:-1], "--host", f"unix://{daemon.base}/other.sock"], capture_output=True, text=True, timeout=20)
    assert second.returncode == 1 and "another" in second.stderr.lower()


def test_two_daemons_do_not_share_what_belongs_to_one(make_daemon):
    """A second daemon would take the first one's containers for what a crash has left behind."""
    daemon = make_daemon()
    daemon.corten("run", "-d", "--name", "stays", "busybox", "sleep", "100")
    pid = daemon.corten("inspect", "-f", "{{.State.Pid}}", "stays")
    arguments = daemon.arguments()

    def start_other(*replaced):
        other = list(arguments)
        for flag, value in replaced:
            other[other.index(flag) + 1] = value
        return subprocess.run(other, capture_output=True, text=True, timeout=20)

    elsewhere = [("--host", f"unix://{daemon.base}/other.sock"), ("--data-root", f"{daemon.base}/other"), ("--bridge", "none")]
    del arguments[arguments.index("--bip") : arguments.index("--bip") + 2]
    for replaced, said in ((elsewhere, "exec root"), (elsewhere + [("--exec-root", f"{daemon.base}/other-exec")], "control group")):
        result = start_other(*replaced)
        assert result.returncode == 1, result
        assert f"{said} " in result.stderr and "is in use by another daemon: stop it or choose another --" in result.stderr
    assert daemon.corten("inspect", "-f", "{{.State.Pid}} {{.State.Status}}", "stays") == f"{pid} running"
    assert daemon.corten("exec", "stays", "echo", "alive") == "alive"


def start_failure(tmp_path, *arguments, wrapper=()):
    """The one line that cortend says when it cannot start."""
    (tmp_path / "daemon.json").write_text("{}")
    given = {"--config-file": tmp_path / "daemon.json", "--host": f"unix://{tmp_path}/c.sock", "--data-root": tmp_path / "data",
             "--exec-root": tmp_path / "exec", "--bridge": "none", "--cgroup-parent": "corten-test-start"}  # fmt: skip
    given.update(zip(arguments[::2], arguments[1::2]))
    command = [*wrapper, BIN / "cortend", *[word for pair in given.items() for word in pair]]
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=30)
    for group in pathlib.Path("/sys/fs/cgroup").glob("**/corten-test-start"):
        group.rmdir()
    lines = [line for line in result.stderr.splitlines() if line.startswith("cortend: ")]
    assert result.returncode == 1 and len(lines) == 1, result
    return lines[0]


def test_start_errors_say_what_to_do(tmp_path):
    (tmp_path / "file").write_text("x")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as readable:
        print("{}", file=readable, flush=True)
        os.chmod(readable.name, 0o644)
        assert start_failure(tmp_path, "--config-file", readable.name, wrapper=["setpriv", "--reuid=65534", "--clear-groups"]) == (
            "cortend: cortend needs to be started as root: use sudo, or run it as a system service")  # fmt: skip
    assert start_failure(tmp_path, "--data-root", tmp_path / "file").endswith("/file: not a directory: choose another place with --data-root")
    assert "choose another place with --exec-root" in start_failure(tmp_path, "--exec-root", "/proc/corten")
    assert "choose another --host" in start_failure(tmp_path, "--host", "unix:///proc/x/c.sock")
    assert "there is a file that is no socket" in start_failure(tmp_path, "--host", f"unix://{tmp_path}/file")
    import socket

    with socket.socket() as busy, socket.socket(socket.AF_UNIX) as served:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        said = start_failure(tmp_path, "--host", f"tcp://127.0.0.1:{busy.getsockname()[1]}")
        assert said.endswith("address already in use: stop what uses it or choose another --host")
        served.bind(f"{tmp_path}/c.sock")
        served.listen()
        assert start_failure(tmp_path).endswith("another process is serving this socket: stop what uses it or choose another --host")


def test_a_read_only_data_root(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    (tmp_path / "ro").mkdir()
    mount = f"mount -t tmpfs -o ro none {tmp_path}/ro && exec \"$@\""
    for root in ("ro", "ro/below"):
        said = start_failure(tmp_path, "--data-root", tmp_path / root, wrapper=["unshare", "-m", "sh", "-c", mount, "sh"])
        assert said.endswith("read-only file system: choose another place with --data-root"), said


@pytest.mark.parametrize(
    "inject, extra, said",
    [
        ("fsopen:error=ENODEV", (), "modprobe overlay"),
        ("socket:error=EPROTONOSUPPORT", ("--bridge", "ct-none", "--bip", "10.63.255.1/24"), "--bridge none does without"),
    ],
)
def test_kernels_that_lack_something(tmp_path, inject, extra, said):
    if shutil.which("strace") is None or os.geteuid() != 0:
        pytest.skip("needs root and strace, which stands for a kernel without the feature")
    # A leak sanitizer cannot look at a process that is traced.
    unleaked = "ASAN_OPTIONS=" + os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    wrapper = ["env", unleaked, "strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={inject.split(':')[0]}", "-e", f"inject={inject}"]
    assert said in start_failure(tmp_path, *extra, wrapper=wrapper)


def test_reload(make_daemon):
    daemon = make_daemon(start=False)
    config = daemon.base / "daemon.json"
    config.write_text('{"labels":["a=b"],"default-shm-size":"8M"}')
    arguments = daemon.arguments
    daemon.arguments = lambda: [a for a in arguments() if a != "--debug"]
    daemon.start()

    def info():
        return daemon.corten.json("info", "--format", "{{json .}}")

    assert info()["LiveRestoreEnabled"] is True and info()["Debug"] is False
    begin = time.time()
    config.write_text(json.dumps({"labels": ["c=d"], "default-shm-size": "9M", "live-restore": False, "debug": True, "shutdown-timeout": 3,
                                  "registry-mirrors": ["https://mirror.test"], "insecure-registries": ["plain.test:5000", "10.1.0.0/16"],
                                  "max-concurrent-downloads": 6}))  # fmt: skip
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: info()["Labels"] == ["c=d"], 5, "the reload")
    after = info()
    assert after["LiveRestoreEnabled"] is False and after["Debug"] is True
    registry = after["RegistryConfig"]
    assert registry["Mirrors"] == ["https://mirror.test"] and registry["IndexConfigs"]["plain.test:5000"]["Secure"] is False
    assert "10.1.0.0/16" in registry["InsecureRegistryCIDRs"]
    events = daemon.corten("events", "--since", str(int(begin) - 1), "--until", str(int(time.time()) + 1), "--filter", "type=daemon", "--format", "{{json .}}")
    attributes = json.loads(events.splitlines()[-1])["Actor"]["Attributes"]
    assert attributes["labels"] == '["c=d"]' and attributes["max-concurrent-downloads"] == "6" and attributes["live-restore"] == "false"
    assert attributes["shutdown-timeout"] == "3" and attributes["debug"] == "true" and attributes["name"]
    log = daemon.log.read_text()
    assert "default-shm-size has changed in the configuration file: that takes a restart of the daemon" in log
    config.write_text('{"labels":["e=f"],"no-such-key":1}')
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "don't match any configuration option: no-such-key" in daemon.log.read_text(), 5, "the refusal")
    assert info()["Labels"] == ["c=d"]


def test_a_reload_decides_whether_containers_outlive_the_daemon(make_daemon):
    daemon = make_daemon()
    daemon.corten("run", "-d", "--name", "sss", "busybox", "sleep", "100")
    pid = daemon.corten("inspect", "-f", "{{.State.Pid}}", "sss")
    (daemon.base / "daemon.json").write_text('{"live-restore":false,"shutdown-timeout":1}')
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: daemon.corten("info", "--format", "{{.LiveRestoreEnabled}}") == "false", 5, "the reload")
    assert daemon.stop() == 0
    assert not os.path.exists(f"/proc/{pid}")


def test_configuration_file(make_daemon):
    daemon = make_daemon(start=False)
    (daemon.base / "daemon.json").write_text(json.dumps(
        {"labels": ["a=b"], "log-driver": "local", "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 100, "Hard": 200}},
         "default-shm-size": "8M", "log-opts": {"max-size": "1m"}}))  # fmt: skip
    daemon.start()
    info = daemon.corten.json("info", "--format", "{{json .}}")
    assert info["Labels"] == ["a=b"] and info["LoggingDriver"] == "local"
    config = daemon.base / "daemon.json"
    config.write_text('{"labels":["c=d"],"log-driver":"local"}')
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: daemon.corten.json("info", "--format", "{{json .Labels}}") == ["c=d"], 5, "the reload")


@pytest.mark.parametrize(
    "text, said",
    [
        ("{", "invalid JSON"),
        ('{"no-such-key": 1}', "don't match any configuration option: no-such-key"),
        ('{"mtu": "wide"}', "mtu"),
        ('{"data-root": "/x"}', "both as a flag and in the configuration file"),
        ('{"storage-driver": "zfs"}', "storage-driver"),
    ],
)
def test_bad_configuration(tmp_path, text, said):
    (tmp_path / "daemon.json").write_text(text)
    result = subprocess.run([BIN / "cortend", "--config-file", tmp_path / "daemon.json", "--data-root", tmp_path / "d", "--validate"],
                            capture_output=True, text=True)  # fmt: skip
    assert result.returncode == 1 and said in result.stderr


def test_state_directories_are_private(make_daemon):
    daemon = make_daemon()
    daemon.corten("run", "-d", "--name", "ccc", "busybox", "sleep", "100")
    identity = daemon.corten("inspect", "-f", "{{.Id}}", "ccc")
    assert os.stat(daemon.data_root).st_mode & 0o066 == 0
    for path in (daemon.data_root / "containers" / identity, daemon.exec_root / "containers" / identity):
        assert os.stat(path).st_mode & 0o077 == 0, path
    assert os.stat(daemon.data_root / "corten.db").st_mode & 0o077 == 0


def test_tls(make_daemon, tmp_path):
    run = lambda *words: subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=tmp_path)
    run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    for name in ("server", "client"):
        run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (tmp_path / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", "ext")
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    daemon = make_daemon("--host", f"tcp://127.0.0.1:{port}", "--tlsverify", "--tlscacert", tmp_path / "ca.pem", "--tlscert", tmp_path / "server.pem",
                         "--tlskey", tmp_path / "server.key")  # fmt: skip
    flags = ["--tlsverify", "--tlscacert", f"{tmp_path}/ca.pem", "--tlscert", f"{tmp_path}/client.pem", "--tlskey", f"{tmp_path}/client.key"]
    for client in filter(None, (daemon.corten, daemon.docker)):
        base = [str(client.program), "-H", f"tcp://127.0.0.1:{port}"]
        out = subprocess.run([*base, *flags, "run", "--rm", "-i", "busybox", "cat"], input="over tls", capture_output=True, text=True, env=daemon.environment, timeout=30)
        assert out.stdout == "over tls", out
        refused = subprocess.run([*base, "--tls", "version"], capture_output=True, text=True, env=daemon.environment, timeout=30)
        assert refused.returncode != 0
