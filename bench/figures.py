"""The measurements. Each gives plain data; what it means is decided in bench/report.py."""

import json
import os
import statistics
import subprocess
import time

from engines import IMAGE, Api, Failed, output


class Sizes:
    """How much is measured. `quick` is for working on this script: its figures are not worth quoting."""

    def __init__(self, quick):
        self.quick = quick
        self.rounds = 2 if quick else 6
        self.runs = {"Docker": 2, "Podman": 2, "other": 5} if quick else {"Docker": 4, "Podman": 4, "other": 15}
        self.crowd = 20 if quick else 100
        self.crowd_rounds = 1 if quick else 3
        self.starts = {"Corten": {1: 20, 8: 40, 100: 100}, "Docker": {1: 3, 8: 8, 100: 16}} if quick else {
            "Corten": {1: 200, 8: 400, 100: 800}, "Docker": {1: 15, 8: 48, 100: 100}}  # fmt: skip
        self.start_rounds = 1 if quick else 3
        self.records = 100 if quick else 1000
        self.boots = 3 if quick else 7
        self.api_runs = {"Docker": 3, "Corten": 15} if quick else {"Docker": 15, "Corten": 100}


def say(text):
    print(f"bench: {text}", flush=True)


def hyperfine(commands, runs, scratch):
    """Seconds of each command, as hyperfine measures them without a shell. `commands` maps a name to its argument list."""
    times = {}
    for name, command in commands.items():
        result = scratch / "hyperfine.json"
        line = " ".join(str(word) for word in command)  # no word of ours has blanks or quotes
        output("hyperfine", "-N", "--warmup", "1", "--runs", str(max(2, runs(name))), "--export-json", result, line, timeout=600)
        times[name] = json.loads(result.read_text())["results"][0]["times"]
    return times


def interleaved(commands, sizes, scratch):
    """Rounds of all commands in turn, so that a slow minute of the machine hits all of them. Name to all its seconds."""
    runs = lambda name: sizes.runs.get(name, sizes.runs["other"])
    merged = {name: [] for name in commands}
    for _ in range(sizes.rounds):
        for name, times in hyperfine(commands, runs, scratch).items():
            merged[name] += times
    return merged


def crowd_of_clients(command, count, parallel, collect=False):
    """Runs `command` `count` times, `parallel` at a time; gives the seconds and what they printed."""
    begin = time.monotonic()
    done = subprocess.run(
        ["xargs", "-P", str(parallel), "-n", "1", *command[:-1]],
        input=f"{command[-1]}\n" * count, text=True, capture_output=True, timeout=1800,
    )  # fmt: skip
    seconds = time.monotonic() - begin
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise Failed(f"{count} at {parallel}: {lines[-1] if lines else done.returncode}")
    return (seconds, done.stdout.split()) if collect else (seconds, [])


def start_rates(engine, sizes):
    """Starts per second of `run --rm IMAGE true` at each parallelism."""
    rates = {}
    for parallel, count in sizes.starts[engine.name].items():
        seconds, _ = crowd_of_clients(engine.command("run", "--rm", IMAGE, "true"), count, parallel)
        rates[parallel] = count / seconds
    return rates


def settled(measure, patience=10.0):
    """A memory figure once it no longer changes: pools refill and allocators trim a moment after the work."""
    last, end = measure(), time.monotonic() + patience
    while time.monotonic() < end:
        time.sleep(0.5)
        now = measure()
        if now["count"] == last["count"] and abs(now["pss"] - last["pss"]) < 0.05:
            return now
        last = now
    return last


def crowd(engine, sizes, scratch):
    """`crowd` running containers: seconds to start 8 at a time, memory, `ps`, seconds of one `rm -f` with all of them."""
    has_daemon = hasattr(engine, "idle_memory")
    if has_daemon:
        daemon_before, shims_before = settled(engine.idle_memory), settled(engine.shim_memory)
    seconds, ids = crowd_of_clients(engine.command("run", "-d", IMAGE, "sleep", "1000"), sizes.crowd, 8, collect=True)
    figures = {"count": sizes.crowd, "run_seconds": seconds}
    if has_daemon:
        daemon_after, shims_after = settled(engine.idle_memory), settled(engine.shim_memory)
        figures["shim_pss_mib"] = (shims_after["pss"] - shims_before["pss"]) / sizes.crowd
        figures["daemon_growth_mib"] = (daemon_after["pss"] - daemon_before["pss"]) / sizes.crowd
        figures["daemon_rss_mib"] = daemon_after["rss"]
    ps = hyperfine({engine.name: engine.command("ps")}, lambda _: 5 if sizes.quick else 20, scratch)
    figures["ps"] = ps[engine.name]
    begin = time.monotonic()
    engine.call("rm", *engine.force, *ids, timeout=900)
    figures["rm_seconds"] = time.monotonic() - begin
    return figures


def fresh_idle(engine):
    """Memory of a daemon just started, nothing running."""
    engine.stop()
    engine.start()
    return {"daemon": settled(engine.idle_memory), "shims": settled(engine.shim_memory)}


def api_latency(engine, sizes):
    """Milliseconds of POST create and POST start over a kept connection."""
    api = Api(engine.socket)
    create, start = [], []
    for _ in range(sizes.api_runs[engine.name]):
        t0 = time.monotonic()
        container = api("POST", "/containers/create", {"Image": IMAGE, "Cmd": ["true"]})["Id"]
        t1 = time.monotonic()
        api("POST", f"/containers/{container}/start")
        t2 = time.monotonic()
        create.append((t1 - t0) * 1e3)
        start.append((t2 - t1) * 1e3)
        api("POST", f"/containers/{container}/wait")
        api("DELETE", f"/containers/{container}?force=1")
    return {"create_ms": create, "start_ms": start}


def ready_with_records(engine, sizes):
    """Seconds until a daemon with `records` stopped containers answers, several times over."""
    api = Api(engine.socket)
    for _ in range(sizes.records):
        api("POST", "/containers/create", {"Image": IMAGE, "Cmd": ["true"]})
    times = []
    for _ in range(sizes.boots):
        engine.stop()
        times.append(engine.start())
    return {"records": sizes.records, "seconds": times}


def cgroup_move_ms(name):
    """Median time of a process's first move into a v1 group after a quiet time: tells whether the kernel waits for RCU there.

    None on a machine without v1 hierarchies.
    """
    top = f"/sys/fs/cgroup/pids/{name}"
    if not os.path.isdir("/sys/fs/cgroup/pids"):
        return None
    os.makedirs(top, exist_ok=True)
    times = []
    for _ in range(9):
        child = subprocess.Popen(["sleep", "10"])
        time.sleep(0.1)
        begin = time.monotonic()
        with open(f"{top}/cgroup.procs", "w") as file:
            file.write(str(child.pid))
        times.append((time.monotonic() - begin) * 1e3)
        child.kill()
        child.wait()
    return statistics.median(times)
