"""What the figures of images mean: one row per promise of moving and keeping images. Misses stay in."""

from report_rows import Row, median, ms, ratio, times

ENGINES = ("Corten", "Docker", "Podman", "containerd")
HEAD = ["figure", *ENGINES, "Corten's ratio or value", "must", "aim", "verdict"]
megabytes = lambda value: "–" if value is None else f"{value / 1e6:.0f} MB"
share = lambda value: "–" if value is None else f"{value:.2f}"


def present(results):
    return "images" in results


def figure(results, name, step):
    return median(results["images"]["engines"].get(name, {}).get(step, []))


def across(results, step):
    return [figure(results, name, step) for name in ENGINES]


def against_docker(results, text, step, must=None, aim=None):
    values = across(results, step)
    return Row(text, map(ms, values), ratio(values[1], values[0]), must, aim)


def rows(results):
    images = results["images"]
    limit = lambda text, step, must, aim=None, unit=ms: Row(
        text, map(unit, across(results, step)), figure(results, "Corten", step), must, aim, small=True, unit=unit)  # fmt: skip
    together = [None if a is None or b is None else a + b for a, b in zip(across(results, "load"), across(results, "push"))]
    unpacked = images["sizes"].get("unpacked")
    stored = [None if value is None or not unpacked else value / unpacked for value in across(results, "stored")]
    cold = {name: median(values) for name, values in images.get("cold", {}).items()}
    return [
        against_docker(results, "pull to ready, against Docker", "pull", 5, 9),
        against_docker(results, "push of an image not yet compressed (just loaded), against Docker", "push", 10, 15),
        Row("load and push together, against Docker", map(ms, together), ratio(together[1], together[0])),
        against_docker(results, "save, against Docker", "save", 5, 10),
        against_docker(results, "load, against Docker", "load", 5, 10),
        limit("pull of one changed small layer out of 50", "one_of_50", 0.150),
        limit("remove the image, client's time", "remove", 0.020),
        Row("stored bytes ÷ unpacked bytes, one image", map(share, stored), stored[0], 1.45, 1.05, small=True, unit=share),
        Row(f"cold read of all files through the mount, against one tree on ext4 ({ms(cold.get('tree'))})",
            [ms(cold.get(name)) for name in ENGINES], ratio(cold.get("tree"), cold.get("Corten")), 1, 1.3),
        limit("peak memory of the daemon during the pull", "pull_peak", 100e6, 60e6, megabytes),
    ]  # fmt: skip


def further(results):
    images = results["images"]
    lines = []
    sizes = images["sizes"]
    if sizes:
        lines.append(f"the image: {megabytes(sizes['tar'])} of layer tars, {megabytes(sizes['gzip'])} compressed; a directory on ext4 for each layer "
                     f"{megabytes(sizes.get('unpacked'))}")  # fmt: skip
    if images["floors"]:
        lines.append("floors: " + ", ".join(f"{name} {ms(median(values))}" for name, values in images["floors"].items()))
    stored = [f"{name} {share(value / sizes['tar'])}" for name, value in zip(ENGINES, across(results, "stored")) if value and sizes]
    if stored:
        lines.append("stored bytes ÷ bytes of the layers' tars: " + ", ".join(stored))
    for step, text in {
        "push_pulled": "push of an image that was pulled, to a registry without it",
        "load_own": "load of the archive that it saved itself, layers compressed",
        "space_back": "remove, until the disk has its space back",
        "first_run": "`run --rm IMAGE true` without network, the first after the pull",
        "cold_start": "`run -d` with nothing cached, before the cold read",
        "registry_seconds": "processor time of the registry during the pull",
    }.items():
        values = [f"{name} {ms(value)}" for name, value in zip(ENGINES, across(results, step)) if value is not None]
        if values:
            lines.append(f"{text}: " + ", ".join(values))
    cold = images.get("cold", {})
    if cold.get("Docker"):
        lines.append(f"cold read, Corten against Docker's mount: {times(ratio(median(cold['Docker']), median(cold.get('Corten', []))))}")
    for name in ("Corten", "Docker"):
        one = images["engines"].get(name, {})
        spread = [f"{step} {ms(min(one[step]))} to {ms(max(one[step]))}" for step in ("pull", "push", "save", "load", "remove") if one.get(step)]
        if spread:
            lines.append(f"{name}, fastest to slowest of {images['rounds']} rounds: " + ", ".join(spread))
    return lines


HOW = """- The image is made by `bench/make-image` from packages of the Debian mirror: four layers, gzip level 6. The registry is the `docker-registry` package on
  loopback, its blobs in the page cache. It shares the two processors with the engine it serves.
- Data roots lie on an ext4 of their own with the defaults of mke2fs, in a file, unless `--same-disk` is said.
- Each engine goes through pull, save, remove, load, push and remove in its turn, {rounds}. Whatever is dirty is written out
  before each step; writing that an engine leaves to the kernel after its step is not in its figure, for none of them.
- Not yet compressed: the image was loaded from an archive of plain tars. Docker compresses when it pushes; Corten has done so while it loaded,
  which the sum of both accounts for. Every push goes to a registry that has none of the layers.
- Save: Corten's archive has the layers as they are stored, compressed; Docker's and Podman's have plain tars, three times as many bytes. Load: the same
  archive of plain tars for all.
- Seconds are those of the client program, from start to end. Memory is the most that was resident (VmHWM, reset before the pull): of cortend,
  of dockerd and containerd together, of the client process for Podman.
- Stored bytes are the disk's blocks of the data root, before and after the pull; unpacked bytes those of the layers, each unpacked by tar into a
  directory of its own, which is what Docker keeps.
- Cold read: page cache and directory entries dropped while no daemon runs; then the daemon and a container start, and every file below the container's
  root is read in the order of its directories. Only the reading counts, though some of it may have been begun by the start. The tree on
  ext4 is one directory with all layers, unpacked by tar, which is better for ext4 than the four directories and the overlay that engines mount.
- Docker's client is the one of the package (20.10), as in the other table.
"""


def how(results):
    count = results["images"]["rounds"] if present(results) else 0
    number = {3: "three"}.get(count, count)
    rounds = "in one round" if count == 1 else f"in {number} rounds; Podman and containerd in the first"
    return HOW.replace("{rounds}", rounds)
