"""The measurements of builds: everything cached, what a RUN costs, stages side by side, a big context. build_report.py says what it means.

Each engine goes through the same steps, one after the other, on a file system of their own (see images.py). Base images are there
before. The packages of the Debian image come from a repository in the context: the network is in nobody's figure.
"""

import hashlib
import pathlib
import subprocess
import time

import build_engines
import images
from engines import Failed, output
from figures import say
from images import quiet, timed

BASE, SMALL = images.LOADED, "bench-busybox"
STEPS = ("cached", "run", "stages", "start", "context")
CONTEXT_BYTES, CONTEXT_FILES = 5 << 30, 2_000
SLEEP = 2

TWELVE = f"""FROM {BASE} AS one
COPY src/one /one
RUN find /one -type f | sort | xargs cat | sha256sum > /one.sum
FROM {BASE} AS two
COPY src/two /two
RUN find /two -type f | sort | xargs cat | sha256sum > /two.sum
FROM {BASE} AS three
COPY src/three /three
RUN find /three -type f | sort | xargs cat | sha256sum > /three.sum

FROM {BASE}
ENV DEBIAN_FRONTEND=noninteractive
COPY repository /srv/repository
RUN echo 'deb [trusted=yes] file:/srv/repository ./' > /etc/apt/sources.list && rm -rf /etc/apt/sources.list.d/* && apt-get update
RUN apt-get install -y --no-install-recommends bench-tool
RUN useradd --create-home --uid 1234 app
WORKDIR /srv/app
COPY src ./src
COPY start.sh ./
COPY --from=one /one.sum /sums/
COPY --from=two /two.sum /sums/
COPY --from=three /three.sum /sums/
CMD ["sh", "start.sh"]
"""


def write_repository(folder, scratch):
    """A package and the index of a repository of it."""
    tree = scratch / "package"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/share/bench-tool").mkdir(parents=True)
    control = "Package: bench-tool\nVersion: 1.0\nArchitecture: all\nMaintainer: bench <bench@example.org>\nDescription: files for a benchmark\n"
    (tree / "DEBIAN/control").write_text(control)
    for number in range(200):
        (tree / f"usr/share/bench-tool/{number}").write_text(f"{number}\n" * 200)
    folder.mkdir(parents=True)
    output("dpkg-deb", "--root-owner-group", "--build", tree, folder / "bench-tool.deb")
    data = (folder / "bench-tool.deb").read_bytes()
    (folder / "Packages").write_text(f"{control}Filename: ./bench-tool.deb\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n")


def write_context(folder, scratch):
    """2,000 source files in three folders, a repository, a script."""
    for number in range(2_000):
        place = folder / "src" / ("one", "two", "three")[number % 3] / f"part{number // 90:02}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"file{number:04}.c").write_text(f"int f{number}(void) {{ return {number}; }}\n" * (20 + number % 50))
    write_repository(folder / "repository", scratch)
    (folder / "start.sh").write_text("cat /sums/*\n")
    (folder / "Dockerfile").write_text(TWELVE)


def write(folder, dockerfile):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Dockerfile").write_text(dockerfile)
    return folder


class Builds:
    def __init__(self, scratch, cgroup, image_folder, cache, quick, without, results):
        self.top = scratch / "builds"
        self.top.mkdir()
        images.mount_disk(scratch / "build-disk", self.top, gib=32)
        self.cgroup, self.cache = cgroup, pathlib.Path(cache)
        self.archives = [pathlib.Path(image_folder) / "debian-1.tar", build_engines.small_archive(self.top / "small", SMALL)]
        self.quick, self.without, self.results = quick, without, results
        self.repeats = 3 if quick else 7
        self.figures = results["builds"] = {"repeats": self.repeats, "engines": {}, "context_bytes": CONTEXT_BYTES}
        self.engines = []

    def note(self, engine, step, value):
        self.figures["engines"][engine.builder].setdefault(step, []).append(value)

    # --- before

    def start(self):
        for kind in (build_engines.Corten, build_engines.Docker, build_engines.Buildah):
            if kind.name.lower() in self.without:
                continue
            engine = kind(self.top, self.cgroup)
            self.guarded(f"builds with {engine.name}", lambda: self.bring_up(engine))

    def bring_up(self, engine):
        engine.start()
        for archive in self.archives:
            timed(engine.load(archive))
        if isinstance(engine, build_engines.Buildah):
            engine.choose(write(self.top / "try", f"FROM {SMALL}\nRUN true\n"))
        self.results["versions"].setdefault(engine.name, engine.version())
        found = [engine]
        if isinstance(engine, build_engines.Docker):
            found.append(build_engines.BuildKit(engine))
        self.engines += found
        for one in found:
            self.figures["engines"][one.builder] = {}

    # --- steps

    def cached(self, engine):
        """The whole Dockerfile, then again with nothing changed."""
        folder = self.top / "twelve"
        quiet()
        self.note(engine, "first", timed(engine.build("bench-twelve", folder))[0])
        for _ in range(self.repeats):
            self.note(engine, "cached", timed(engine.build("bench-twelve", folder))[0])

    def run(self, engine):
        """The slope between a Dockerfile with one RUN and one with eleven."""
        one = write(self.top / "run1", f"FROM {SMALL}\nRUN true\n")
        eleven = write(self.top / "run11", f"FROM {SMALL}\n" + "RUN true\n" * 11)
        for _ in range(self.repeats if engine.builder == "Corten" else 2):
            seconds = [timed(engine.build("bench-run", folder, "--no-cache"))[0] for folder in (one, eleven)]
            self.note(engine, "run_step", (seconds[1] - seconds[0]) / 10)

    def stages(self, engine):
        """Three stages that sleep, and one that wants all of them."""
        stage = "FROM {0} AS {1}\nRUN sleep {2} && echo {1} > /{1}\n"
        text = "".join(stage.format(SMALL, name, SLEEP) for name in "abc")
        folder = write(self.top / "stages", text + f"FROM {SMALL}\n" + "".join(f"COPY --from={name} /{name} /{name}\n" for name in "abc"))
        for _ in range(2 if engine.builder == "Corten" else 1):
            self.note(engine, "stages", timed(engine.build("bench-stages", folder, "--no-cache"))[0])

    def start_built(self, engine):
        """`run` of an image that was built a moment ago."""
        folder = self.top / "built"
        folder.mkdir(exist_ok=True)
        for number in range(self.repeats):
            (folder / "file").write_text(f"{engine.builder} {number} {time.time()}\n" * 1000)
            write(folder, f"FROM {BASE}\nCOPY file /file\nRUN wc -l /file > /lines\nCMD [\"true\"]\n")
            tag = f"bench-built{number}"
            timed(engine.build(tag, folder))
            if (first := engine.first_run(tag)) is not None:
                self.note(engine, "start_built", timed(first)[0])

    def context(self, engine):
        """One file of 5 GB changes. What is copied into the image is that and 250 MB of the rest."""
        folder = self.big_context()
        changing = folder / "app/main.txt"
        changing.parent.mkdir(exist_ok=True)
        expensive = engine.builder == "Docker"  # the whole tar, each time
        if expensive and self.quick:
            return
        for number in range(1 if expensive else 1 + self.repeats):
            changing.write_text(f"{engine.builder} {number} {time.time()}\n")
            quiet()
            self.note(engine, "context_first" if number == 0 else "context", timed(engine.build("bench-context", folder))[0])
        if expensive:
            changing.write_text("once more\n")
            self.note(engine, "context", timed(engine.build("bench-context", folder))[0])

    def big_context(self):
        folder = build_engines.gigabytes(self.cache / "context-5g", CONTEXT_BYTES, CONTEXT_FILES)
        return write(folder, f"FROM {SMALL}\nCOPY 00 /assets\nCOPY app /app\nRUN cat /app/main.txt > /seen\n")

    # --- all of it

    def measure(self):
        write_context(self.top / "twelve", self.top / "making")
        self.start()
        work = {"cached": self.cached, "run": self.run, "stages": self.stages, "start": self.start_built, "context": self.context}
        for step in STEPS:
            for engine in self.engines:
                if step == "start" and engine.builder == "buildah":
                    continue
                self.guarded(f"{step} with {engine.builder}", lambda: work[step](engine))
                if step == "context":  # disks are small
                    self.guarded(f"making room after {engine.builder}", lambda: build_engines.prune(engine))
        for engine in self.engines:
            engine.stop()

    def guarded(self, what, work):
        begin = time.monotonic()
        try:
            work()
        except (Failed, OSError, subprocess.TimeoutExpired) as error:
            self.results["unmeasured"][what] = str(error)
            say(f"{what} failed: {error}")
            return
        say(f"{what}: {time.monotonic() - begin:.0f} s")
