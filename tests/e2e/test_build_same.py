"""The same folder gives the same image, to the byte: on another daemon, in another order of its files, on another day."""

import json
import os
import shutil
import tarfile

import pytest
from build_harness import EPOCH, PATH, File, HardLink, Link, Tar, base_archive, write_tree

FILES = {
    **{f"src/{n % 7}/file-{n}": File(f"file {n}\n", 0o755 if n % 5 == 0 else 0o644) for n in range(200)},
    "src/link": Link("0/file-0"),
    "src/hard": HardLink("src/1/file-1"),
    "a.tar.gz": Tar({"in/f": File("x", 0o600, (5, 6)), "in/l": Link("f")}, "gz"),
    "Dockerfile": """# every kind of step
FROM base AS made
ARG V=1
RUN mkdir -p /out/sub && for n in 9 3 7 1 5; do echo $n > /out/sub/$n; done && date > /out/date && rm /out/date && ln /out/sub/9 /out/hard
FROM base
WORKDIR /w/x
COPY src ./
COPY --from=made --chown=alice /out /out
ADD a.tar.gz /unpacked/
RUN rm -r /etc/old && touch /now && mkdir -m 700 /made
ENV A=b
LABEL z=1 a=2
CMD ["cat", "/now"]
""",
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return base_archive(tmp_path_factory.mktemp("base"))


def what_it_is(daemon, name, folder):
    """Image id, and the bytes of manifest, config and layers."""
    image = daemon.corten("inspect", "-f", "{{.Id}}", name)
    daemon.corten("save", "-o", folder / "saved.tar", name)
    with tarfile.open(folder / "saved.tar") as archive:
        blobs = sorted(member.name for member in archive if member.name.startswith("blobs/") and member.isfile())
        index = json.load(archive.extractfile("index.json"))
    os.unlink(folder / "saved.tar")
    return image, index["manifests"][0]["digest"], blobs


def other_order(source, target):
    """The same files, made in another order: other inodes, another order in their folders."""
    target.mkdir()
    names = sorted((path for path in source.rglob("*")), key=lambda path: (len(path.parts), path.name[::-1]), reverse=False)
    folders = [path for path in names if path.is_dir() and not path.is_symlink()]
    for path in folders:
        (target / path.relative_to(source)).mkdir()
        os.chmod(target / path.relative_to(source), path.stat().st_mode & 0o7777)
    linked = {}
    for path in reversed([path for path in names if path not in folders]):
        place, status = target / path.relative_to(source), path.lstat()
        if status.st_nlink > 1 and status.st_ino in linked:
            os.link(linked[status.st_ino], place)
        else:
            shutil.copy2(path, place, follow_symlinks=False)
            linked[status.st_ino] = place
    for path in [*names, source]:
        status = path.lstat()
        os.utime(target / path.relative_to(source), (status.st_atime, status.st_mtime), follow_symlinks=False)


def start(make_daemon, base):
    daemon = make_daemon(image=False)
    daemon.corten("load", "-i", base)
    return daemon


def test_two_daemons_make_the_same_image(make_daemon, base, tmp_path):
    write_tree(tmp_path / "one", FILES)
    other_order(tmp_path / "one", tmp_path / "two")
    found = []
    for number, folder in enumerate(("one", "two")):
        daemon = start(make_daemon, base)
        flags = ["--cpuset-cpus=0"] if number else []  # another order of what runs side by side
        daemon.corten("build", "-t", "same", *flags, tmp_path / folder)
        found.append(what_it_is(daemon, "same", tmp_path))
        daemon.corten("build", "--no-cache", "-t", "again", tmp_path / folder)
        assert what_it_is(daemon, "again", tmp_path)[0] == found[-1][0]
    assert found[0] == found[1]
    assert len(found[0][2]) > 5


def test_times_are_the_newest_files(make_daemon, base, tmp_path):
    write_tree(tmp_path / "c", FILES)
    daemon = start(make_daemon, base)
    daemon.corten("build", "-t", "dated", tmp_path / "c")
    assert daemon.corten("run", "--rm", "--network=none", "dated", "stat", "-c", "%Y", "/now", "/w/x/link", "/made").split() == [str(EPOCH)] * 3
    assert daemon.corten("inspect", "-f", "{{.Created}}", "dated").startswith("2023-11-14T22:13:20")


def test_the_source_date_is_the_callers(make_daemon, base, tmp_path):
    write_tree(tmp_path / "c", FILES)
    write_tree(tmp_path / "later", FILES)
    os.utime(tmp_path / "later/src/0/file-0")  # today
    ids = []
    daemon = start(make_daemon, base)
    for folder in ("c", "later"):
        daemon.corten("build", "--no-cache", "-t", folder, "--build-arg", "SOURCE_DATE_EPOCH=1600000000", tmp_path / folder)
        ids.append(daemon.corten("inspect", "-f", "{{.Id}}", folder))
        assert daemon.corten("inspect", "-f", "{{.Created}}", folder).startswith("2020-09-13T12:26:40")
    assert ids[0] == ids[1]
    assert not [line for line in json.loads(daemon.corten("inspect", "c"))[0]["Config"]["Env"] if line not in (PATH, "A=b")]


def test_the_base_is_not_rewritten(make_daemon, base, tmp_path):
    write_tree(tmp_path / "c", FILES)
    daemon = start(make_daemon, base)
    daemon.corten("build", "-t", "built", tmp_path / "c")
    layers = json.loads(daemon.corten("inspect", "-f", "{{json .RootFS.Layers}}", "built"))
    below = json.loads(daemon.corten("inspect", "-f", "{{json .RootFS.Layers}}", "base"))
    assert layers[: len(below)] == below
