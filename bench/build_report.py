"""What the figures of builds mean: one row per promise. Misses stay in."""

from report_rows import Row, median, ms, ratio

BUILDERS = ("Corten", "Docker", "BuildKit", "buildah")
HEAD = ["figure", "Corten", "Docker", "BuildKit", "buildah", "Corten's ratio or value", "must", "aim", "verdict"]


def present(results):
    return "builds" in results


def across(results, step):
    found = results["builds"]["engines"]
    return [median(found.get(name, {}).get(step, [])) for name in BUILDERS]


def rows(results):
    limit = lambda text, step, must: Row(text, map(ms, across(results, step)), across(results, step)[0], must, small=True, unit=ms)
    cached, first, stages = (across(results, step) for step in ("cached", "first", "stages"))
    return [
        Row("everything cached, 12 steps and three more stages, 2,000 files, against `docker build`", map(ms, cached), ratio(cached[1], cached[0]), 15),
        Row("the same with nothing cached", map(ms, first), ratio(first[1], first[0])),
        limit("what a RUN step takes beside its command", "run_step", 0.030),
        Row("three independent stages of 2 s each, against the longest", map(ms, stages), ratio(stages[0], 2.0), 1.1, small=True),
        limit("image just built to its process ended, client's time of `run`", "start_built", 0.050),
        limit("one changed file in a context of 5 GB", "context", 1.0),
    ]


def further(results):
    lines = []
    for step, text in {"context_first": "the first build of the context of 5 GB"}.items():
        values = [f"{name} {ms(value)}" for name, value in zip(BUILDERS, across(results, step)) if value is not None]
        if values:
            lines.append(f"{text}: " + ", ".join(values))
    cached = across(results, "cached")
    if cached[0] and cached[2]:
        lines.append(f"everything cached, against BuildKit: {cached[2] / cached[0]:.0f}×")
    for name in BUILDERS:
        one = results["builds"]["engines"].get(name, {})
        spread = [f"{step} {ms(min(one[step]))} to {ms(max(one[step]))}" for step in ("cached", "run_step", "start_built", "context") if one.get(step)]
        if spread:
            lines.append(f"{name}, fastest to slowest: " + ", ".join(spread))
    return lines


HOW = """- Seconds are those of the client program with `-q`, from start to end, its sending of the context included. Base images are there before.
- The Dockerfile of the first rows has twelve steps upon a Debian base (apt-get update and install from a repository in the context, useradd, copies of 2,000
  files) and three independent stages that hash their files. Cached: nothing has changed since the build before.
- A RUN step: the difference between Dockerfiles of eleven and of one `RUN true` on busybox, each built without the cache, divided by ten. The command's own
  time is in it.
- Stages: three of `RUN sleep 2`, and one that copies a file of each. Docker's default builder and buildah take one after the other.
- The context of 5 GB has 2,000 files that do not compress. 250 MB of them and the changed file are copied into the image. Docker's default builder is sent the
  whole context each time, BuildKit asks for what it needs, buildah reads the folder in place, Corten keeps the contents by their hashes and is sent what is new.
"""
