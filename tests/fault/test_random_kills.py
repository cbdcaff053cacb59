"""kill -9 of the daemon and of shims, at random, while clients create, start, exec, stop and remove.

Afterwards: every container that a client was told of and did not remove is there, what runs is what the engine says,
and nothing is left that belongs to no container: control group, run directory, snapshot, link, process.

CORTEN_FAULT_KILLS sets the number of kills (default 200), CORTEN_FAULT_SEED the seed of the choices.
"""

import json
import os
import pathlib
import random
import re
import signal
import subprocess
import threading
import time

from conftest import e2e

KILLS = int(os.environ.get("CORTEN_FAULT_KILLS", "200"))
SEED = int(os.environ.get("CORTEN_FAULT_SEED", str(random.randrange(1 << 30))))


class Client(threading.Thread):
    """Lives containers' lives until told to stop; remembers what it was promised."""

    def __init__(self, daemon, number, ending):
        super().__init__(name=f"client-{number}")
        self.daemon = daemon
        self.number = number
        self.ending = ending
        self.random = random.Random(f"{SEED}-{number}")
        self.promised = set()  # names whose creation was acknowledged and whose removal was never asked for
        self.steps = 0
        self.failure = None

    def corten(self, *arguments):
        return self.daemon.corten.run(*arguments, timeout=120)

    def run(self):
        try:
            while not self.ending.is_set():
                self.one_life()
        except Exception as error:  # noqa: BLE001 - shown by the test
            self.failure = error

    def one_life(self):
        self.steps += 1
        name = f"c{self.number}-{self.steps}"
        kind = self.random.randrange(4)
        if kind == 0:
            self.corten("run", "--rm", "--name", name, "busybox", "sh", "-c", "echo x; exit 3")
            # It may have outlived its daemon's death: then it goes like any other.
            self.corten("rm", "-f", name)
            return
        command = ["sleep", "1000"] if kind < 3 else ["sh", "-c", "sleep 0.05"]
        extra = self.random.choice([[], ["-p", "80"], ["--restart", "always"], ["--network", "none"]])
        made = self.corten("run", "-d", "--name", name, *extra, "busybox", *command)
        if made.code == 0:
            self.promised.add(name)
        for _ in range(self.random.randrange(3)):
            self.random.choice(
                [
                    lambda: self.corten("exec", name, "true"),
                    lambda: self.corten("stop", "-t", "0", name),
                    lambda: self.corten("restart", "-t", "0", name),
                    lambda: self.corten("pause", name) and self.corten("unpause", name),
                    lambda: self.corten("logs", name),
                    lambda: self.corten("ps"),
                ]
            )()
        if self.random.random() < 0.8:
            self.promised.discard(name)
            self.corten("rm", "-f", name)


def shim_pids(daemon):
    pids = []
    for state in pathlib.Path(daemon.exec_root).glob("containers/*/state"):
        try:
            match = re.search(r"^shim_pid=(\d+)$", state.read_text(), re.MULTILINE)
        except OSError:
            continue
        if match:
            pids.append(int(match.group(1)))
    return pids


def containers(daemon):
    ids = daemon.corten("ps", "-aq", "--no-trunc").split()
    return {c["Id"]: c for c in json.loads(daemon.corten("inspect", *ids))} if ids else {}


def names_in(path):
    return {entry.name for entry in pathlib.Path(path).iterdir() if not entry.name.startswith(".")}


def group_names(daemon):
    found = set()
    for hierarchy in ["/sys/fs/cgroup", *map(str, pathlib.Path("/sys/fs/cgroup").glob("*"))]:
        parent = pathlib.Path(hierarchy) / daemon.cgroup_parent
        if parent.is_dir():
            found |= {child.name for child in parent.iterdir() if child.is_dir()}
    return found


def check_nothing_is_lost_or_left(daemon, promised):
    """What the engine says, the directories and the kernel agree; waits for what is cleared away in the background."""

    def disagreement():
        known = containers(daemon)
        running = {id for id, c in known.items() if c["State"]["Pid"] != 0}
        problems = []
        lost = promised - {c["Name"].lstrip("/") for c in known.values()}
        if lost:
            problems.append(f"lost containers: {lost}")
        for what, found, wanted in [
            ("container directories", names_in(daemon.data_root / "containers"), set(known)),
            ("run directories", names_in(daemon.exec_root / "containers"), running),
            ("control groups", group_names(daemon), running),
        ]:
            if found != wanted:
                problems.append(f"{what}: too many {found - wanted}, missing {wanted - found}")
        for id in running:
            if not pathlib.Path(f"/proc/{known[id]['State']['Pid']}").exists():
                problems.append(f"{id} is said to run but does not")
        return problems

    end = time.monotonic() + 30
    while problems := disagreement():
        assert time.monotonic() < end, "\n".join(problems) + "\n" + daemon.log_tail()
        time.sleep(0.2)


def links_of(daemon):
    listing = subprocess.run(["ip", "-j", "link", "show", "master", daemon.bridge], capture_output=True, text=True).stdout
    return len(json.loads(listing or "[]"))


def test_random_kills(make_daemon):
    print(f"seed {SEED}, {KILLS} kills")
    chance = random.Random(SEED)
    daemon = make_daemon()
    idle = daemon.ports_published()
    ending = threading.Event()
    clients = [Client(daemon, number, ending) for number in range(4)]
    for client in clients:
        client.start()
    try:
        for kill in range(KILLS):
            time.sleep(chance.uniform(0.02, 0.4))
            shims = shim_pids(daemon)
            if shims and chance.random() < 0.3:
                try:
                    os.kill(chance.choice(shims), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            else:
                daemon.kill()
                daemon.start()
            assert daemon.process.poll() is None, f"the daemon ended by itself:\n{daemon.log_tail()}"
    finally:
        ending.set()
        for client in clients:
            client.join(180)
    for client in clients:
        assert client.failure is None, f"{client.name}: {client.failure}"
        assert not client.is_alive(), f"{client.name} hangs"
    assert sum(client.steps for client in clients) > KILLS / 4
    promised = set().union(*(client.promised for client in clients))
    check_nothing_is_lost_or_left(daemon, promised)

    for id in containers(daemon):
        daemon.corten("rm", "-f", id)
    check_nothing_is_lost_or_left(daemon, set())
    # What is left on the bridge are the prepared links, a handful.
    e2e.wait_until(lambda: links_of(daemon) <= 16, 30, "links of removed containers to go")
    assert daemon.ports_published() == idle
