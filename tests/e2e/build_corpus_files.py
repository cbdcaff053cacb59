"""The corpus of Dockerfiles, second part: COPY and ADD, contexts and what is ignored of them."""

from build_harness import NEWER, Entry, File, Folder, HardLink, Link, Tar

TREE = {
    "app/main.c": "int main(void) { return 0; }\n",
    "app/run.sh": File("#!/bin/sh\necho running\n", 0o755),
    "app/lib/one.h": "1\n",
    "app/lib/two.h": "2\n",
    "app/empty": Folder(),
    "app/link": Link("run.sh"),
    "readme.md": "read me\n",
    "license.md": "mit\n",
    "notes.txt": "notes\n",
}
FIND = "find {} | sort"
MODES = "find {} | sort | xargs stat -c '%a %u:%g %n'"

COPY = [
    Entry("copy-one", "FROM base\nCOPY readme.md /a\nCOPY readme.md /b/\nCOPY readme.md /c/d/e\nCOPY readme.md .\n", "one file: name or folder as destination",
          files=TREE, runs={"cat /a /b/readme.md /c/d/e /readme.md": "\n".join(["read me"] * 4)}, classic=True),
    Entry("copy-folder", "FROM base\nCOPY app /app\nCOPY app/ /app2/\nCOPY app/lib /app2/\n", "a folder's content goes, not the folder",
          files=TREE, runs={FIND.format("/app2"): "\n".join(["/app2"] + [f"/app2/{n}" for n in ("empty", "lib", "lib/one.h", "lib/two.h", "link", "main.c", "one.h", "run.sh", "two.h")]),
                            "/app/link": "running"}, classic=True),
    Entry("copy-everything", "FROM base\nCOPY . /all\n", "the whole context, the Dockerfile with it", files=TREE,
          runs={"ls /all": "Dockerfile\napp\nlicense.md\nnotes.txt\nreadme.md"}, classic=True),
    Entry("copy-many", "FROM base\nCOPY readme.md app/lib notes.txt /d/\n", "files and folders together", files=TREE, runs={"ls /d": "notes.txt\none.h\nreadme.md\ntwo.h"},
          classic=True),
    Entry("copy-wildcards", "FROM base\nCOPY *.md /md/\nCOPY n?tes.txt /q/\nCOPY [l-r]*.md /r/\nCOPY app/l*b/one.h /deep/\nCOPY a*p /dir/\n", "patterns as Go's filepath.Match",
          files=TREE, runs={"ls /md /q /r /deep /dir": "/deep:\none.h\n\n/dir:\nempty\nlib\nlink\nmain.c\nrun.sh\n\n/md:\nlicense.md\nreadme.md\n\n/q:\nnotes.txt\n\n/r:\nlicense.md\nreadme.md"},
          classic=True),
    Entry("copy-escaped-pattern", "FROM base\nCOPY [[]a].txt /x\nCOPY [\"with blank\", \"b,c\", \"/y/\"]\n", "names that look like patterns, with blanks and commas",
          files={"[a].txt": "bracket\n", "with blank": "blank\n", "b,c": "comma\n"}, runs={"cat /x '/y/with blank' /y/b,c": "bracket\nblank\ncomma"}, classic=True),
    Entry("copy-into-working-folder", "FROM base\nWORKDIR /w/v\nCOPY readme.md ./\nCOPY notes.txt ../n\nCOPY app .\n", "relative destinations", files=TREE,
          runs={"ls /w /w/v": "/w:\nn\nv\n\n/w/v:\nempty\nlib\nlink\nmain.c\nreadme.md\nrun.sh"}, classic=True),
    Entry("copy-modes", "FROM base\nCOPY . /d/\n", "modes go along, with their special bits",
          files={"x": File("x", 0o755), "secret": File("s", 0o600), "suid": File("u", 0o4755), "sgid": File("g", 0o2755), "open": File("o", 0o666),
                 "sticky": Folder(0o1777), "closed": Folder(0o700), "none": File("", 0o000)},
          runs={"stat -c '%a %n' /d/x /d/secret /d/suid /d/sgid /d/open /d/sticky /d/closed /d/none":
                "755 /d/x\n600 /d/secret\n4755 /d/suid\n2755 /d/sgid\n666 /d/open\n1777 /d/sticky\n700 /d/closed\n0 /d/none"}),
    Entry("copy-owners", "FROM base\nCOPY f /f\n", "owners of the context become root", files={"f": File("f", 0o640, (1234, 55))}, runs={"stat -c '%u %g %a' /f": "0 0 640"}, classic=True),
    Entry("copy-chown", "FROM base\nCOPY --chown=alice:staff app /names\nCOPY --chown=1234:77 app /numbers\nCOPY --chown=alice readme.md /one/user\nCOPY --chown=:staff readme.md /group\n"
          "COPY --chown=55 readme.md /number\n", "owners by name and number", files=TREE,
          runs={"stat -c '%u:%g' /names /names/run.sh /names/link /numbers/lib/one.h /one/user /group /number":
                "1000:50\n1000:50\n1000:50\n1234:77\n1000:1000\n0:50\n55:55"}, differs={"/group": "20.10 takes the group for no group"}),
    Entry("copy-chown-argument", "FROM base\nARG WHO=alice\nRUN echo 'made:x:777:888::/:/bin/sh' >> /etc/passwd\nCOPY --chown=$WHO readme.md /a\nCOPY --chown=made:50 readme.md /b\n",
          "owners by a variable, and one that an earlier step made", files=TREE, runs={"stat -c '%u:%g' /a /b": "1000:1000\n777:50"}),
    Entry("copy-chmod", "FROM base\nCOPY --chmod=0755 readme.md /a\nCOPY --chmod=600 app /b\nADD --chmod=4711 notes.txt /c\n", "modes by number, for folders too", files=TREE,
          runs={"stat -c '%a' /a /b /b/lib /b/run.sh /c": "755\n755\n600\n600\n4711"}, differs={"/c": "20.10 loses the set-user-id bit"}),
    Entry("copy-parents-are-made", "FROM base\nUSER alice\nCOPY f /n/m/f\nCOPY --chown=alice f /o/p/f\nCOPY --chmod=700 f /q/r/f\nCOPY --chown=alice --chmod=700 d /s/t\nADD f /u/\nCOPY closed /v\n",
          "whose the folders are that a COPY makes, and how open", files={"f": "1", "d/e/g": "2", "closed": Folder(0o700), "closed/f": ""},
          runs={"stat -c '%a %u:%g %n' /n /n/m/f /o /o/p/f /q /q/r/f /s /s/t /s/t/e /s/t/e/g /u /v":
                "755 0:0 /n\n644 0:0 /n/m/f\n755 1000:1000 /o\n644 1000:1000 /o/p/f\n755 0:0 /q\n700 0:0 /q/r/f\n755 1000:1000 /s\n755 1000:1000 /s/t\n700 1000:1000 /s/t/e\n"
                "700 1000:1000 /s/t/e/g\n755 0:0 /u\n755 0:0 /v"}),
    Entry("copy-chmod-symbolic", "FROM base\nCOPY --chmod=u=rwX,go=rX app /a\nCOPY --chmod=a+x,o-r readme.md /b\n", "modes by letters", files=TREE,
          runs={"stat -c '%a' /a /a/lib /a/main.c /a/run.sh /b": "755\n755\n644\n755\n751"}, buildkit=False, why_not=NEWER),
    Entry("copy-link", "FROM base\nCOPY --link app /app\nCOPY --link --chown=1000 readme.md /new/r\n", "layers of their own", files=TREE,
          runs={"cat /new/r; /app/run.sh; stat -c '%u' /new/r": "read me\nrunning\n1000"}, buildkit=False, why_not=NEWER),
    Entry("copy-parents", "FROM base\nCOPY --parents app/lib/one.h readme.md /p/\nCOPY --parents app/./lib /q/\nCOPY --parents app/*/two.h /r/\n", "paths are kept below the destination",
          files=TREE, runs={FIND.format("/p /q /r"): "/p\n/p/app\n/p/app/lib\n/p/app/lib/one.h\n/p/readme.md\n/q\n/q/lib\n/q/lib/one.h\n/q/lib/two.h\n/r\n/r/app\n/r/app/lib\n/r/app/lib/two.h"},
          buildkit=False, why_not=NEWER),
    Entry("copy-exclude", "FROM base\nCOPY --exclude=*.c --exclude=lib/two.h app /a\nCOPY --exclude=**/*.h app /b\nADD --exclude=*.md . /c/\n", "what a COPY leaves out", files=TREE,
          runs={FIND.format("/a"): "/a\n/a/empty\n/a/lib\n/a/lib/one.h\n/a/link\n/a/run.sh", "ls /b/lib | wc -l; ls /c": "0\nDockerfile\napp\nnotes.txt"},
          buildkit=False, why_not=NEWER),
    Entry("copy-heredoc", "FROM base\nARG WHO=you\nCOPY <<one.txt <<'two.txt' /h/\nhello $WHO\none.txt\nraw $WHO\ntwo.txt\nCOPY --chmod=755 <<-EOF /bin/tool\n\t#!/bin/sh\n\techo tool\nEOF\n"
          "COPY <<EOF readme.md /mixed/\nx\nEOF\n", "files in the Dockerfile itself", files=TREE,
          runs={"cat /h/one.txt /h/two.txt; tool; ls /mixed": "hello you\nraw $WHO\ntool\nEOF\nreadme.md"}, buildkit=False, why_not=NEWER),
    Entry("copy-links", "FROM base\nCOPY l /as-source/\nCOPY d /as-content\nCOPY ld/ /through\n", "a link in a folder stays one, a link that is named is followed",
          files={"t": "target\n", "l": Link("t"), "d/x": Link("/etc/old"), "d/broken": Link("nowhere"), "real/f": "f\n", "ld": Link("real")},
          runs={"cat /as-source/l; readlink /as-content/x; readlink /as-content/broken; cat /through/f": "target\n/etc/old\nnowhere\nf"}),
    Entry("copy-hard-links", "FROM base\nCOPY . /d/\n", "names of one file", files={"a": "same\n", "b": HardLink("a")}, runs={"cat /d/a /d/b": "same\nsame"}),
    Entry("copy-through-a-link", "FROM base\nRUN mkdir /real && ln -s /real /link && ln -s ../real /tmp/rel\nCOPY readme.md /link/\nCOPY notes.txt /tmp/rel/n\nCOPY app/lib /link\n",
          "a destination behind links, inside the image", files=TREE, runs={"ls /real; readlink /link": "n\none.h\nreadme.md\ntwo.h\n/real"}),
    Entry("copy-link-that-leaves", "FROM base\nRUN ln -s ../../../../../../tmp /up\nCOPY readme.md /up/inside\n", "a link that climbs ends at the image's root", files=TREE,
          runs={"cat /tmp/inside": "read me"}),
    Entry("copy-over", "FROM base\nRUN mkdir -p /d/keep && echo old > /d/f && echo old > /d/keep/g && chmod 700 /d/keep && ln -s /etc/old /d/l\nCOPY d /d\n",
          "files replace, folders merge", files={"d/f": "new\n", "d/keep/h": "new\n", "d/l": "plain\n"},
          runs={"cat /d/f /d/keep/g /d/keep/h /d/l; stat -c %a /d/keep; cat /etc/old": "new\nold\nnew\nplain\n755\nof the base"}),
    Entry("copy-names", "FROM base\nCOPY . /n/\n", "names of all kinds", files={"\u00fcml\u00e4ut": "u\n", " leading": "l\n", "-dash": "d\n", "n" * 200: "long\n", "back\\slash": "b\n", "quo\"te": "q\n", "$dollar": "$\n"},
          runs={"ls /n | wc -l; cat '/n/ leading' '/n/$dollar'": "8\nl\n$"}),
    Entry("copy-deep", "FROM base\nCOPY top /deep\n", "long paths", files={"top/" + "/".join(f"level-number-{n}" for n in range(20)) + "/file": "bottom\n"},
          runs={"find /deep -type f | xargs cat": "bottom"}, classic=True),
    Entry("copy-many-files", "FROM base\nCOPY src /src\nRUN find /src -type f | wc -l > /n\n", "a thousand files", files={f"src/{n // 50}/{n}": f"file {n}\n" for n in range(1000)},
          runs={"cat /n /src/7/399": "1000\nfile 399"}, classic=True),
    Entry("copy-from-stage-links", "FROM base AS s\nRUN mkdir -p /a/b && echo x > /a/b/f && ln -s b/f /a/l && ln /a/b/f /a/h && chown -R alice:staff /a/b && chmod 4750 /a/b/f\nFROM base\nCOPY --from=s /a /c\n"
          "COPY --from=s --chown=0:0 /a/b/f /root-owned\nCOPY --from=s /a/l /followed\n", "owners, modes and links of a stage",
          runs={"stat -c '%a %u:%g' /c/b /c/b/f /root-owned; readlink /c/l; cat /followed": "755 1000:50\n4750 1000:50\n4750 0:0\nb/f\nx"},
          differs={"/root-owned": "20.10 loses the set-user-id bit when it changes the owner"}),
    Entry("copy-from-stage-folder", "FROM base AS s\nWORKDIR /out\nRUN echo x > x && echo y > y\nFROM base\nWORKDIR /w\nCOPY --from=s /out/ ./\nCOPY --from=s out/x /z\n", "paths of a stage are its root's",
          runs={"cat /w/x /w/y /z": "x\ny\nx"}, classic=True),
    Entry("copy-device-of-stage", "FROM base AS s\nRUN mkdir /k && mkfifo /k/p && mknod /k/n c 1 3\nFROM base\nCOPY --from=s /k /k\n", "pipes and devices of a stage",
          runs={"stat -c %F /k/p /k/n": "fifo\ncharacter special file"}, buildkit=False, why_not="20.10 copies neither"),
]  # fmt: skip

ARCHIVE = {"in/": Folder(), "in/f": File("archived\n", 0o640, (1000, 50)), "in/l": Link("f"), "x": File("x\n", 0o755)}

ADD = [
    *(
        Entry(f"add-archive-{kind or 'tar'}", f"FROM base\nADD a.{kind or 'tar'} /d/\nCOPY a.{kind or 'tar'} /kept\n", "a local archive is unpacked, whatever its name",
              files={f"a.{kind or 'tar'}": Tar(ARCHIVE, kind)}, classic=kind == "gz",
              runs={"cat /d/in/l; stat -c '%a %u:%g' /d/in/f /d/x; stat -c %F /kept": "archived\n640 1000:50\n755 0:0\nregular file"})
        for kind in ("", "gz", "bz2", "xz")
    ),
    Entry("add-archive-chown", "FROM base\nADD --chown=alice:staff a.tar /d/\n", "what an archive unpacks keeps its owners; --chown is for the folder", files={"a.tar": Tar(ARCHIVE)},
          runs={"stat -c '%a %u:%g' /d /d/in/f /d/x": "755 1000:50\n640 1000:50\n755 0:0"}),
    Entry("add-archive-over", "FROM base\nRUN mkdir -p /d/in && echo old > /d/in/f && echo other > /d/in/o\nADD a.tar /d\n", "an archive over files that are there", files={"a.tar": Tar(ARCHIVE)},
          runs={"cat /d/in/f /d/in/o": "archived\nother"}),
    Entry("add-archives-and-files", "FROM base\nADD a.tar plain /d/\n", "an archive beside a file", files={"a.tar": Tar(ARCHIVE), "plain": "plain\n"}, runs={"cat /d/plain /d/x": "plain\nx"}),
    Entry("add-no-archive", "FROM base\nADD fake.tar.gz /d/\nADD empty.tar /e/\n", "a name alone makes no archive", files={"fake.tar.gz": "no gzip\n", "empty.tar": ""},
          runs={"cat /d/fake.tar.gz; ls /e": "no gzip\nempty.tar"}, classic=True),
    Entry("add-unpack-false", "FROM base\nADD --unpack=false a.tar /d/\nADD --unpack=true a.tar /u/\n", "archives that stay what they are", files={"a.tar": Tar(ARCHIVE)},
          runs={"ls /d; cat /u/x": "a.tar\nx"}, buildkit=False, why_not=NEWER),
    Entry("add-folder", "FROM base\nADD app /app\nADD *.md /md/\n", "ADD of plain files is COPY", files=TREE, runs={"ls /md; /app/run.sh": "license.md\nreadme.md\nrunning"}, classic=True),
]  # fmt: skip

IGNORE = [
    Entry("ignore-patterns", "FROM base\nCOPY . /c\n", ".dockerignore: names, wildcards, exceptions, comments",
          files={".dockerignore": "# a comment\n*.log\n**/*.tmp\nbuild\n/top-only\n!build/keep\n  docs/  \nb?d\n!*.important.log\n",
                 "a.log": "", "x.important.log": "", "sub/a.log": "", "sub/b.tmp": "", "c.tmp": "", "build/out": "", "build/keep/it": "", "top-only": "", "sub/top-only": "",
                 "docs/readme": "", "bad": "", "good": "", "sub/bad": ""},
          runs={"cd /c; find . -type f | sort": "./.dockerignore\n./Dockerfile\n./build/keep/it\n./good\n./sub/a.log\n./sub/bad\n./sub/top-only\n./x.important.log"}, classic=True),
    Entry("ignore-all-but", "FROM base\nCOPY . /c\n", "everything out, some in again", files={".dockerignore": "*\n!src\nsrc/*.o\n!/src/../src/need.o\n", "src/a.c": "", "src/a.o": "", "src/need.o": "", "other": ""},
          runs={"cd /c; find . -type f | sort": "./src/a.c\n./src/need.o"}, classic=True),
    Entry("ignore-dockerfile-itself", "FROM base\nCOPY . /c\n", "the Dockerfile can be left out and still be read", files={".dockerignore": "Dockerfile\n.dockerignore\n", "f": ""},
          runs={"ls -A /c": "f"}, classic=True),
    Entry("ignore-of-a-dockerfile", "FROM base\n", "one Dockerfile's own ignore file goes before the other",
          files={".dockerignore": "two\n", "web.Dockerfile": "FROM base\nCOPY . /c\n", "web.Dockerfile.dockerignore": "one\n*ocker*\n", "one": "", "two": ""},
          flags=("-f", "{context}/web.Dockerfile"), runs={"ls -A /c": "two"}),
    Entry("ignore-double-star", "FROM base\nCOPY . /c\n", "** for any depth", files={".dockerignore": "**/node_modules\n**/*.pyc\na/**/z\n!**/keep.pyc\n*ocker*\n.d*\n",
          "node_modules/x": "", "p/q/node_modules/y": "", "m.pyc": "", "p/n.pyc": "", "p/q/keep.pyc": "", "a/z": "", "a/b/c/z": "", "a/b/y": ""},
          runs={"cd /c; find . -type f | sort": "./a/b/y\n./p/q/keep.pyc"}),
    Entry("ignore-empty-file", "FROM base\nCOPY . /c\n", "an empty .dockerignore ignores nothing", files={".dockerignore": "\n#\n", "f": ""}, runs={"ls -A /c": ".dockerignore\nDockerfile\nf"}),
]  # fmt: skip

CORPUS_OF_FILES = [*COPY, *ADD, *IGNORE]
