"""A place where all engines run and from which nothing can stay behind.

The measurements run in a PID, mount and network namespace of their own. Whatever the engines make there (processes, mounts,
bridges, veths, nftables and iptables rules, files below /run, /etc and /var/lib) ends with the namespaces, also when this
program is killed. What is outside them, the control groups and the scratch folder, is removed by the parent afterwards.
"""

import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG = 1
CGROUPS = pathlib.Path("/sys/fs/cgroup")
V2_CONTROLLERS = CGROUPS / "unified" / "cgroup.controllers"

libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags):
    if libc.unshare(flags) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"unshare: {os.strerror(error)}")


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True, stdout=subprocess.DEVNULL)


def private_overlay(folder, scratch):
    """Writes below `folder` go to the scratch folder; what is there stays readable."""
    base = scratch / "overlay" / folder.strip("/").replace("/", "-")
    (base / "upper").mkdir(parents=True)
    (base / "work").mkdir()
    mount("-t", "overlay", "overlay", "-o", f"lowerdir={folder},upperdir={base}/upper,workdir={base}/work", folder)


def hide_v2_controllers(scratch):
    """Lets crun and Podman run on a hybrid machine: crun refuses where the v2 tree beside v1 hierarchies has any controller.

    An empty file over the list of them is enough, and it changes nothing in the kernel. Daemons are not to profit from it:
    they call show_v2_controllers() first.
    """
    if V2_CONTROLLERS.exists() and V2_CONTROLLERS.read_text().strip():
        empty = scratch / "no-controllers"
        empty.touch()
        mount("--bind", empty, V2_CONTROLLERS)


def show_v2_controllers():
    """For a daemon between fork and exec: a mount namespace of its own without the empty file."""
    unshare(CLONE_NEWNS)
    libc.umount2(str(V2_CONTROLLERS).encode(), 0)  # fails where nothing was hidden


def furnish(scratch):
    mount("--make-rprivate", "/")
    mount("-t", "proc", "proc", "/proc")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    os.makedirs("/run/lock", exist_ok=True)
    private_overlay("/etc", scratch)
    private_overlay("/var/lib", scratch)
    hide_v2_controllers(scratch)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def go_first():
    """A session of its own before all others: the kernel shares processors by sessions first, by niceness within one."""
    os.setsid()
    os.nice(-18)
    try:
        pathlib.Path("/proc/self/autogroup").write_text("-19")
    except OSError:  # a kernel that does not group by session
        pass


def be_init(work):
    """Process 1 of the namespace: starts `work` in a child, reaps everybody, ends with it; the kernel then ends all others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = os.fork()
    if worker == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os._exit(guarded(work))
    while True:
        pid, status = os.wait()
        if pid == worker:
            return os.waitstatus_to_exitcode(status)


def guarded(work):
    code = 1
    try:
        code = work()
    except KeyboardInterrupt:
        print("\nbench: interrupted", file=sys.stderr)
        code = 130
    except Exception as error:  # the border of the process: everything becomes an exit code
        import traceback

        traceback.print_exc()
        print(f"bench: {error}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def run(work, scratch, cgroup):
    """Runs `work` inside, cleans up, gives its exit code."""
    unshare(CLONE_NEWPID)
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

        def inside():
            unshare(CLONE_NEWNS | CLONE_NEWNET)
            furnish(scratch)
            return be_init(work)

        os._exit(guarded(inside))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: os.kill(pid, signal.SIGKILL))
    while True:
        try:
            _, status = os.waitpid(pid, 0)
            break
        except InterruptedError:
            continue
    left = remove_cgroups(cgroup)
    shutil.rmtree(scratch, ignore_errors=True)
    if left:
        print(f"bench: control groups that could not be removed: {' '.join(left)}", file=sys.stderr)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def remove_cgroups(name, patience=5.0):
    """Removes the groups called `name` in all hierarchies, with what is below. The dead need a moment to leave theirs."""
    end = time.monotonic() + patience
    while True:
        left = []
        for hierarchy in [CGROUPS, *CGROUPS.iterdir()]:
            top = hierarchy / name
            if not top.is_dir():
                continue
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass
            if top.is_dir():
                left.append(str(top))
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.05)
