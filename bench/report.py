"""What the figures mean: one row per promise with what must be, what is aimed at and what was measured. Misses stay in."""

import os
import pathlib

import build_report
import image_report
from report_rows import Row, median, ms, ratio

CGROUPS = pathlib.Path("/sys/fs/cgroup")


def first_line(path, prefix):
    for line in pathlib.Path(path).read_text().splitlines():
        if line.startswith(prefix):
            return line.split(":", 1)[-1].split("=", 1)[-1].strip().strip('"')
    return "unknown"


def machine():
    if (CGROUPS / "cgroup.controllers").exists():
        groups = "v2"
    else:
        groups = "hybrid" if (CGROUPS / "unified").exists() else "v1"
    return {
        "cpus": os.cpu_count(),
        "cpu": first_line("/proc/cpuinfo", "model name"),
        "memory_gib": round(int(first_line("/proc/meminfo", "MemTotal").split()[0]) / 2**20),
        "kernel": os.uname().release,
        "system": first_line("/etc/os-release", "PRETTY_NAME"),
        "cgroups": groups,
        "load_before": os.getloadavg()[0],
    }


HEAD = ["figure", "Corten", "Docker", "Podman", "Corten's ratio or value", "must", "aim", "verdict"]
mib = lambda value: f"{value:.2f} MiB" if value < 3 else f"{value:.1f} MiB"
rate = lambda value: "–" if value is None else f"{value:.1f}/s"


def crowd_rows(results):
    rounds = results.get("crowd", {})
    middle = lambda name, key: median([one[key] for one in rounds.get(name, []) if key in one])
    ps = lambda name: median([seconds for one in rounds.get(name, []) for seconds in one["ps"]])
    started = [middle(name, "run_seconds") for name in ("Corten", "Docker", "Podman")]
    removed = [middle(name, "rm_seconds") for name in ("Corten", "Docker", "Podman")]
    listed = [ps(name) for name in ("Corten", "Docker", "Podman")]
    count = next((one[0]["count"] for one in rounds.values() if one), 100)
    per = {}
    for name in ("Corten", "Docker"):
        shim, growth = middle(name, "shim_pss_mib"), middle(name, "daemon_growth_mib")
        per[name] = None if shim is None else shim + max(0.0, growth)
    return [
        Row(f"{count} `run -d`, 8 at a time, against Docker", map(ms, started), ratio(started[1], started[0]), 20, 50),
        Row(f"`ps` with {count} running, against `docker ps`", map(ms, listed), ratio(listed[1], listed[0]), 10),
        Row(f"`rm -f` of {count}, against Docker", map(ms, removed), ratio(removed[1], removed[0]), 10),
        Row("memory per running container beyond its processes (PSS of its shim and the daemon's growth)",
            ["–" if per[name] is None else mib(per[name]) for name in ("Corten", "Docker")] + ["–"], per["Corten"],
            0.5, 0.3, small=True, unit=mib),
    ]  # fmt: skip


def rows(results):
    run = {name: median(values) for name, values in results.get("run", {}).items()}
    shown = [ms(run.get(name)) for name in ("Corten", "Docker", "Podman")]
    table = [
        Row("`run --rm IMAGE true` on the bridge, against Docker", shown, ratio(run.get("Docker"), run.get("Corten")), 20, 50),
        Row(f"the same, against the kernel's floor ({ms(run.get('floor'))})", shown, ratio(run.get("Corten"), run.get("floor")),
            4, 2, small=True),
    ]  # fmt: skip
    table += crowd_rows(results)
    starts = results.get("starts", {})
    speed = lambda name, parallel: median([one[parallel] for one in starts.get(name, [])])
    for parallel in (8, 100):
        table.append(Row(f"starts per second, {parallel} at a time, against 1 at a time ({rate(speed('Corten', 1))})",
                         [rate(speed("Corten", parallel)), rate(speed("Docker", parallel)), "–"],
                         ratio(speed("Corten", parallel), speed("Corten", 1)), 1, 2))  # fmt: skip
    idle = results.get("idle", {})
    resident = {name: one["daemon"]["rss"] + one["shims"]["pss"] for name, one in idle.items()}
    table.append(Row("resident memory of the idle daemon, with its waiting shims",
                     [mib(resident[name]) if name in resident else "–" for name in ("Corten", "Docker")] + ["–"],
                     resident.get("Corten"), 20, 10, small=True, unit=mib))  # fmt: skip
    boot = {name: median(one["seconds"]) for name, one in results.get("boot", {}).items()}
    records = next((one["records"] for one in results.get("boot", {}).values()), 1000)
    table.append(Row(f"daemon answers, {records} containers on record", [ms(boot.get("Corten")), ms(boot.get("Docker")), "–"],
                     boot.get("Corten"), 0.150, small=True, unit=ms))  # fmt: skip
    return table


def further(results):
    """Lines of figures that no promise is about."""
    lines = []
    api = results.get("api", {})
    for step in ("create", "start"):
        values = {name: median(one[f"{step}_ms"]) / 1e3 for name, one in api.items()}
        if values:
            lines.append(f"`POST` {step}: " + ", ".join(f"{name} {ms(value)}" for name, value in values.items()))
    runtimes = {name: median(values) for name, values in results.get("runtimes", {}).items()}
    if runtimes:
        ordered = sorted(runtimes.items(), key=lambda item: item[1])
        lines.append("bare runtimes, `run` of `true` from the bundle of `runc spec`: " + ", ".join(f"{name} {ms(value)}" for name, value in ordered))
    idle = results.get("idle", {})
    for name, one in idle.items():
        lines.append(f"idle {name}: daemon RSS {mib(one['daemon']['rss'])}, PSS {mib(one['daemon']['pss'])} in {one['daemon']['count']} "
                     f"process(es); {one['shims']['count']} waiting shims, PSS {mib(one['shims']['pss'])}")  # fmt: skip
    for name, rounds in results.get("crowd", {}).items():
        shim = median([one["shim_pss_mib"] for one in rounds if "shim_pss_mib" in one])
        if shim is not None:
            growth = median([one["daemon_growth_mib"] for one in rounds])
            lines.append(f"per container, {name}: shim PSS {shim * 1024:.0f} KiB, daemon's growth {growth * 1024:.0f} KiB")
    for name, rounds in results.get("starts", {}).items():
        parts = [f"{parallel}: {rate(median([one[parallel] for one in rounds]))}" for parallel in (1, 8, 100)]
        lines.append(f"starts per second by parallelism, {name}: " + ", ".join(parts))
    run = results.get("run", {})
    for name, values in run.items():
        if len(values) > 1:
            low, high = min(values), sorted(values)[int(len(values) * 0.95)]
            lines.append(f"`run --rm`, {name}: median {ms(median(values))}, fastest {ms(low)}, 95th percentile {ms(high)}, {len(values)} runs")
    return lines


def honesty(results):
    """What a reader has to know before he believes the ratios."""
    lines = []
    moves = results.get("cgroup_move_ms")
    before = results.get("before_switch")
    if before:
        values = ", ".join(f"{name} {ms(median(one))}" for name, one in before.items())
        lines.append(f"`cortend` makes moves into control groups cheap for the whole machine (docs/cgroups.md), so its peers gain as well. "
                     f"A move took {moves:.1f} ms when this run began. Before `cortend` was started for the first time: {values}. "
                     "The table has the peers' figures after it, which are the better ones for them.")  # fmt: skip
    elif moves is not None:
        lines.append(f"`cortend` makes moves into control groups cheap for the whole machine until it reboots (docs/cgroups.md). That had already "
                     f"happened here before the run (a move takes {moves:.2f} ms), so Docker, Podman, crun and runc profit from it in all figures; on a "
                     "freshly booted machine they are slower than shown.")  # fmt: skip
    for name, reason in results.get("unmeasured", {}).items():
        lines.append(f"Not measured: {name}: {reason}")
    if results.get("priority"):
        lines.append("Other work kept the machine busy: the part with images ran before it (`--priority`: session and niceness), for all engines alike.")
    if results.get("quick"):
        lines.append("A quick run: few repetitions, not to be quoted.")
    return lines


def as_table(head, body):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(cells) + " |" for cells in body])


def machine_line(results):
    m = results["machine"]
    return (f"{m['cpus']} CPUs ({m['cpu']}), {m['memory_gib']} GiB, {m['system']}, Linux {m['kernel']}, control groups {m['cgroups']}, "
            f"load {m['load_before']:.1f} before the run; {results['date']}")  # fmt: skip


def parts(results):
    """Head, rows and further lines of each table that this run has."""
    found = []
    if set(results) & {"run", "crowd", "starts", "idle", "boot", "api", "runtimes"}:
        found.append((HEAD, rows(results), further(results)))
    if image_report.present(results):
        found.append((image_report.HEAD, image_report.rows(results), image_report.further(results)))
    if build_report.present(results):
        found.append((build_report.HEAD, build_report.rows(results), build_report.further(results)))
    return found


def missed(results):
    """The promises that this run did not keep."""
    return [row.figure for _, body, _ in parts(results) for row in body if row.verdict() == "**miss**"]


def aligned(head, body):
    plain = [[cell.replace("**", "").replace("`", "") for cell in cells] for cells in [head, *body]]
    widths = [max(len(cells[column]) for cells in plain) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip() for cells in plain]


def terminal(results):
    lines = ["", machine_line(results), *sorted(f"  {name}: {text}" for name, text in results["versions"].items()), ""]
    for head, body, more in parts(results):
        lines += [*aligned(head, [row.cells() for row in body]), "", *more, ""]
    return "\n".join([*lines, *honesty(results)])


PAGE = """# Benchmarks

Written by `make bench` (`bench/run`); do not edit. All engines ran side by side on one machine, in turns, in one namespace of
their own, with the same images. Figures are medians; ratios are of medians.

Machine: {machine}

{versions}

## Containers: what was promised, and what was measured

With an image of one static busybox.

{table}

## Images: what was promised, and what was measured

With an image of four layers and 500 MB of Debian, from and to the reference registry on this machine.

{images}

## Builds: what was promised, and what was measured

Beside the builder that `docker build` of the package takes by itself, BuildKit in the same daemon (`DOCKER_BUILDKIT=1`), and buildah.

{builds}

## What to know before believing it

{honesty}

The floor is `bench/floor.c`: what the kernel alone takes for clone with five namespaces, an overlay mount, /proc, /dev, /sys,
pivot_root, exec of `true` and reaping it.

## Further figures

{further}

Of images:

{further_images}

Of builds:

{further_builds}

## How it is measured

Containers:

- `run --rm`, `ps` and the bare runtimes: hyperfine without a shell, in rounds that take every engine's turn, so that a slow minute of the
  machine hits all of them. The client's own time is in the figure, as a user sees it.
- Crowds: `xargs -P` starts the clients; the seconds are those of the whole crowd. `rm -f` is one command with all the ids.
- Memory: PSS and RSS of the daemon's processes (for Docker dockerd and containerd) and of the shims, half a second after they stopped
  changing. Per container: what 100 running ones added to both, divided by 100.
- Docker has its own data root, containerd and bridge; Podman runs with the host's ulimits where raising them is not permitted. The client is
  the one of the package.
- `bench/run --quick` runs the same with few repetitions; `--only images --steps push` measures a part.

Images:

{how_images}
Builds:

{how_builds}"""


def page(results):
    listed = lambda lines: "\n".join(f"- {line}" for line in lines)
    table = lambda head, body: as_table(head, [row.cells() for row in body])
    images, builds = image_report.present(results), build_report.present(results)
    return PAGE.format(
        machine=machine_line(results),
        versions="\n".join(sorted(f"- {name}: {text}" for name, text in results["versions"].items())),
        table=table(HEAD, rows(results)),
        images=table(image_report.HEAD, image_report.rows(results)) if images else "Not measured.",
        honesty="\n\n".join(honesty(results)),
        further=listed(further(results)),
        further_images=listed(image_report.further(results)) if images else "",
        how_images=image_report.how(results),
        builds=table(build_report.HEAD, build_report.rows(results)) if builds else "Not measured.",
        further_builds=listed(build_report.further(results)) if builds else "",
        how_builds=build_report.HOW,
    )
