"""How words are read: quotes, escapes, variables, JSON, flags. Files of a few instructions give the same configuration as with
Docker's two builders, or are refused by all three."""

import json
import os
import shutil
import tempfile

import pytest
from build_harness import buildkit_client, left_by_builds
from conftest import Daemon, docker_program
from dockerd import run_docker

# Python's own escapes are off: "\n" in a case ends a line, "\$" is what the Dockerfile has.
SOUND = r"""
ENV V=$$ W=$1x X="a\b" Y=a\b Z='a\'
ENV A=apple\nENV B=${A:-d} C=${X:-d} D=${A:+d} E=${X:+d} F=x${A}y$A.z
ENV A="it's" B='"q"' C=a\ b D= E=""
ENV A  two  words "quoted"  end
ENV A=1 B=$A
ENV A=1\nENV A=$A:2
ENV A=${X:-"a } b"}
ENV A=${X:-\}}
ENV A=\$B D=\\$D E="\$F"
ENV "A B"=c
LABEL a=b "c d"="e f" g.h='$i'
LABEL a b c
EXPOSE 80 443/tcp 53/udp 1000-1002
ENV P="80 90"\nEXPOSE $P
ENV P=80\nEXPOSE $P/udp ${P}81
EXPOSE 80/TCP
EXPOSE 1:2
VOLUME /a /b
VOLUME ["/a b", "/c"]
VOLUME [/a]
WORKDIR a\nWORKDIR ../b\nWORKDIR c/.
WORKDIR /a b
ENV D=/d\nWORKDIR $D/e
USER a:b
ENV U=u\nUSER ${U}x
CMD a  b
CMD ["a", "b c"]
CMD [ "a" ]
CMD ['a']
CMD ["a" "b"]
CMD []
ENTRYPOINT []
CMD a\nENTRYPOINT b
ENTRYPOINT ["a"]\nCMD ["b"]
SHELL ["/bin/x", "-c"]\nCMD a\nENTRYPOINT b
HEALTHCHECK CMD a b
HEALTHCHECK --interval=5s --timeout=1m --retries=3 --start-period=2s CMD ["a"]
HEALTHCHECK none
HEALTHCHECK --interval=5s NONE
STOPSIGNAL SIGTERM
STOPSIGNAL term
STOPSIGNAL RTMIN+3
ONBUILD RUN a b
ONBUILD   CMD ["a"]
onbuild cmd a
MAINTAINER "Me" <a@b>
ARG A=1\nENV B=$A
ARG A\nENV B=x$A
 	ENV A=1 	
ENV A="#" B=a#b
ENV A='$B' C="$B" B=x
ENV A=é B=日本
ENV A=a$ B=$. C=$-x D=$?
ENV A="a""b"'c'
ENV A=a=b=c
ENV a=\"b\" c=b\tc d="${X}" e=${X}
ENV A=${B:-${C:-d}}
""".strip("\n").split("\n")

REFUSED = r"""
EXPOSE 70000
EXPOSE a
EXPOSE 80/xyz
EXPOSE 9-8
VOLUME [""]
SHELL /bin/x
SHELL []
HEALTHCHECK --interval=1us CMD a
HEALTHCHECK
HEALTHCHECK CMD
HEALTHCHECK FOO
STOPSIGNAL SIGNOPE
ONBUILD ONBUILD RUN a
ONBUILD FROM a
ARG "A=1"
ARG =1
ENV
ENV A
ENV A=1 B
ENV A="1
ENV A=${
ENV A=${B
ENV A=${}
ENV A=${B^}
ENV A=${B:=1}
ENV =b
ENV A=1 # no comment
LABEL
RNU x
CMD --foo
COPY a
ADD --foo a b
""".strip("\n").split("\n")

# Lines that continue, which cannot be written in one.
CONTINUED = ["ENV A=b \\\n  C=d", "ENV A=b \\\n# c\n  C=d", "ENV A=1\\\\\n", "ENV A=1 \\\n\n B=2", "ENV A=1 \\  \n B=2"]

FIELDS = ("User", "ExposedPorts", "Env", "Cmd", "Entrypoint", "Healthcheck", "Volumes", "WorkingDir", "OnBuild", "Labels",
          "StopSignal", "Shell")  # fmt: skip


def text_of(case):
    return "FROM scratch\n" + case.replace("\\n", "\n") + "\n"


def config(cli, text, folder, **options):
    """What the image says; None where there is none."""
    (folder / "Dockerfile").write_text(text)
    if cli.run("build", "-q", "-t", "words", folder, **options).code != 0:
        return None
    found = json.loads(cli("image", "inspect", "words"))[0]["Config"]
    # BuildKit gives every image a PATH and a working directory.
    found["WorkingDir"] = found.get("WorkingDir") if found.get("WorkingDir") != "/" else ""
    found["Env"] = sorted(line for line in found.get("Env") or [] if not line.startswith("PATH="))
    return {field: found[field] for field in FIELDS if found.get(field)}


@pytest.fixture(scope="module", params=["classic", "buildkit"])
def peer(request):
    """Builds a text with one of Docker's builders."""
    client = buildkit_client() if request.param == "buildkit" else docker_program()
    if client is None:
        pytest.skip("needs a docker CLI, for BuildKit one older than 23 (package docker.io)")
    for docker in run_docker(client):
        environment = {"DOCKER_BUILDKIT": "1" if request.param == "buildkit" else "0"}
        yield lambda text, folder: config(docker.cli, text, folder, env=environment)


@pytest.fixture(scope="module")
def ours():
    if os.geteuid() != 0:
        pytest.skip("needs root")
    daemon = Daemon(tempfile.mkdtemp(prefix="ct-", dir="/tmp"))
    daemon.start()
    yield lambda text, folder: config(daemon.corten, text, folder)
    problems = left_by_builds(daemon)
    daemon.clean()
    problems += daemon.leaks()
    shutil.rmtree(daemon.base, ignore_errors=True)
    assert not problems


def test_the_same_words_as_docker(peer, ours, tmp_path):
    texts = [text_of(case) for case in SOUND] + ["FROM scratch\n" + case for case in CONTINUED]
    different = {}
    for text in texts:
        here, there = ours(text, tmp_path), peer(text, tmp_path)
        if here is None or here != there:
            different[text] = (here, there)
    assert not different


def test_refused_where_docker_refuses(peer, ours, tmp_path):
    taken = {}
    for text in map(text_of, REFUSED):
        here, there = ours(text, tmp_path), peer(text, tmp_path)
        if here is not None or there is not None:
            taken[text] = (here, there)
    assert not taken
