"""Namespaces, identity, file systems: what a container can see and do."""

import os
import subprocess

import pytest


def namespaces(cli, *flags):
    out = cli("run", "--rm", *flags, "busybox", "ls", "-l", "/proc/self/ns")
    return {line.split()[-3]: line.split()[-1] for line in out.splitlines() if "->" in line}


def own_namespace(name):
    return os.readlink(f"/proc/self/ns/{name}")


def test_each_namespace_is_new(corten):
    inside = namespaces(corten)
    for name in ("mnt", "uts", "ipc", "pid", "net", "cgroup"):
        assert inside[name] != own_namespace(name), name


@pytest.mark.parametrize("flag, name", [("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts"), ("--network", "net"), ("--cgroupns", "cgroup")])
def test_host_mode(corten, flag, name):
    assert namespaces(corten, flag, "host")[name] == own_namespace(name)


@pytest.mark.parametrize("flag, name", [("--pid", "pid"), ("--ipc", "ipc"), ("--network", "net")])
def test_container_mode(cli, flag, name):
    cli("run", "-d", "--name", "base", "--ipc", "shareable", "busybox", "sleep", "100")
    theirs = cli("exec", "base", "readlink", f"/proc/1/ns/{name}")
    assert namespaces(cli, flag, "container:base")[name] == theirs


def test_network_modes(cli):
    assert cli("run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net").split() == ["lo"]
    names = cli("run", "--rm", "--network", "host", "busybox", "ls", "/sys/class/net").split()
    assert set(names) >= {"lo"} and "eth0" in cli("run", "--rm", "busybox", "ls", "/sys/class/net").split()


def status(cli, *flags):
    out = cli("run", "--rm", *flags, "busybox", "cat", "/proc/self/status")
    return dict(line.split(":\t", 1) for line in out.splitlines() if ":\t" in line)


def test_capabilities_are_dockers(cli):
    fields = status(cli)
    # CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP
    assert fields["CapBnd"] == fields["CapEff"] == fields["CapPrm"] == "00000000a80425fb"
    assert fields["CapInh"] == fields["CapAmb"] == "0000000000000000"
    assert fields["Seccomp"] == "2" and fields["NoNewPrivs"] == "0"


def test_capabilities_added_and_dropped(cli):
    assert status(cli, "--cap-drop", "ALL")["CapEff"] == "0000000000000000"
    assert status(cli, "--cap-drop", "all", "--cap-add", "net_admin")["CapEff"] == "0000000000001000"
    assert int(status(cli, "--cap-add", "SYS_PTRACE")["CapEff"], 16) & (1 << 19)
    assert 'invalid capability' in cli.fails("run", "--rm", "--cap-add", "FLY", "busybox", "true").lower()
    other = status(cli, "-u", "1000")
    assert other["CapEff"] == "0000000000000000" and other["CapBnd"] == "00000000a80425fb"


def test_no_new_privileges_and_seccomp(cli):
    assert status(cli, "--security-opt", "no-new-privileges")["NoNewPrivs"] == "1"
    assert status(cli, "--security-opt", "seccomp=unconfined")["Seccomp"] == "0"
    # Refused by the default profile: unshare without CAP_SYS_ADMIN.
    refused = cli.run("run", "--rm", "busybox", "unshare", "-u", "true")
    assert refused.code != 0 and "not permitted" in refused.err


def test_seccomp_profile_file(cli, tmp_path):
    profile = tmp_path / "profile.json"
    profile.write_text('{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}')
    result = cli.run("run", "--rm", "--security-opt", f"seccomp={profile}", "busybox", "mkdir", "/x")
    assert result.code != 0 and "not permitted" in result.err
    profile.write_text("{not json")
    cli.fails("run", "--rm", "--security-opt", f"seccomp={profile}", "busybox", "true")


def test_privileged(cli):
    fields = status(cli, "--privileged")
    bounding = subprocess.run(["grep", "CapBnd", "/proc/self/status"], capture_output=True, text=True).stdout.split()[1]
    assert fields["CapEff"] == bounding and fields["Seccomp"] == "0"
    cli("run", "--rm", "--privileged", "busybox", "mount", "-t", "tmpfs", "none", "/tmp")


def test_masked_and_readonly_paths(cli):
    assert cli.run("run", "--rm", "busybox", "sh", "-c", "cat /proc/kcore | head -c 1 | wc -c").out.strip() == "0"
    # Not every kernel has all of them.
    for path in filter(os.path.exists, ("/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity")):
        result = cli.run("run", "--rm", "busybox", "sh", "-c", f"echo x > {path}")
        assert result.code != 0 and "Read-only" in result.err, path
    assert cli.run("run", "--rm", "busybox", "sh", "-c", "mkdir /sys/fs/cgroup/x").code != 0


def test_devices(cli):
    listing = cli("run", "--rm", "busybox", "ls", "/dev").split()
    assert {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "fd", "stdin", "stdout", "stderr"} <= set(listing)
    assert "vda" not in listing and "kmsg" not in listing
    assert cli("run", "--rm", "--device", "/dev/kmsg:/dev/log-of-host:r", "busybox", "test", "-c", "/dev/log-of-host", code=0) == ""
    # A node can be made, not used: the device rules stand.
    result = cli.run("run", "--rm", "busybox", "sh", "-c", "mknod /x c 10 229 && cat /x")
    assert result.code != 0 and "not permitted" in result.err
    allowed = cli.run("run", "--rm", "--device-cgroup-rule", "c 10:229 rw", "busybox", "sh", "-c", "mknod /x c 10 229 && : < /x")
    assert allowed.code == 0, allowed
    assert "no such file or directory" in cli.fails("run", "--rm", "--device", "/dev/no-such", "busybox", "true")


def test_read_only_root(cli):
    result = cli.run("run", "--rm", "--read-only", "busybox", "touch", "/x")
    assert result.code != 0 and "Read-only" in result.err
    cli("run", "--rm", "--read-only", "--tmpfs", "/scratch", "busybox", "touch", "/scratch/x")


def test_tmpfs_and_shm(cli):
    out = cli("run", "--rm", "--tmpfs", "/t:size=1m,mode=700,exec", "--shm-size", "2m", "busybox", "mount")
    mounts = {line.split()[2]: line for line in out.splitlines()}
    assert "size=1024k" in mounts["/t"] and "mode=700" in mounts["/t"] and "noexec" not in mounts["/t"]
    assert "size=2048k" in mounts["/dev/shm"]


def test_binds(cli, tmp_path):
    (tmp_path / "file").write_text("from the host")
    assert cli("run", "--rm", "-v", f"{tmp_path}:/d", "busybox", "cat", "/d/file") == "from the host"
    result = cli.run("run", "--rm", "-v", f"{tmp_path}:/d:ro", "busybox", "touch", "/d/x")
    assert result.code != 0 and "Read-only" in result.err
    cli("run", "--rm", "-v", f"{tmp_path}/made/below:/d", "busybox", "touch", "/d/x")
    assert (tmp_path / "made/below/x").exists()
    error = cli.fails("run", "--rm", "--mount", f"type=bind,source={tmp_path}/absent,target=/d", "busybox", "true")
    assert "bind source path does not exist" in error
    for bad in ("relative/path:/d", f"{tmp_path}:relative", f"{tmp_path}:/d:sideways", f"{tmp_path}:/"):
        cli.fails("run", "--rm", "-v", bad, "busybox", "true")


def test_volumes(cli):
    cli("run", "--rm", "-v", "vol-test:/data", "busybox", "sh", "-c", "echo kept > /data/file")
    assert cli("run", "--rm", "-v", "vol-test:/data", "busybox", "cat", "/data/file") == "kept"
    # A new volume takes over what the image has there.
    assert "passwd" in cli("run", "--rm", "-v", "vol-etc:/etc", "busybox", "ls", "/etc").split()
    cli("run", "-d", "--name", "source", "-v", "vol-test:/data", "busybox", "sleep", "100")
    assert cli("run", "--rm", "--volumes-from", "source:ro", "busybox", "cat", "/data/file") == "kept"
    cli("rm", "-f", "source")
    if cli.program.endswith("docker"):
        cli("volume", "rm", "vol-test", "vol-etc")


def test_anonymous_volumes_go_with_rm_v(daemon):
    docker = daemon.docker
    if docker is None:
        pytest.skip("no docker CLI on the PATH")
    docker("run", "--name", "anon", "-v", "/data", "busybox", "true")
    assert len(docker("volume", "ls", "-q").split()) == 1
    docker("rm", "-v", "anon")
    assert docker("volume", "ls", "-q") == ""


def test_host_files(cli):
    out = cli("run", "--rm", "--hostname", "box", "--domainname", "example", "--add-host", "db:10.1.2.3", "--dns", "192.0.2.1",
              "--dns-search", "corp", "--dns-option", "ndots:2", "busybox", "cat", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname")  # fmt: skip
    assert "10.1.2.3\tdb" in out and "box.example" in out
    assert "nameserver 192.0.2.1" in out and "search corp" in out and "options ndots:2" in out


def test_sysctls_and_ulimits(cli):
    out = cli("run", "--rm", "--sysctl", "net.core.somaxconn=99", "--ulimit", "nofile=123:456", "busybox", "sh", "-c",
              "cat /proc/sys/net/core/somaxconn; ulimit -n; ulimit -Hn")  # fmt: skip
    assert out.split() == ["99", "123", "456"]
    cli.fails("run", "--rm", "--sysctl", "vm.swappiness=1", "busybox", "true")
    cli.fails("run", "--rm", "--ulimit", "bogus=1", "busybox", "true")
    cli.fails("run", "--rm", "--ulimit", "nofile=5:4", "busybox", "true")


def test_groups(cli):
    assert cli("run", "--rm", "--group-add", "staff", "--group-add", "777", "busybox", "id", "-G").split() == ["0", "50", "777"]


def test_descriptors_do_not_leak(cli):
    listing = cli("run", "--rm", "busybox", "sh", "-c", "ls /proc/self/fd | wc -l")
    assert listing == "4"  # 0, 1, 2 and the directory being read


def test_propagation(cli, tmp_path):
    out = cli("run", "--rm", "-v", f"{tmp_path}:/d:rslave", "busybox", "cat", "/proc/self/mountinfo")
    assert any(" /d " in line for line in out.splitlines())
