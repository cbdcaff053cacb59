// Sound Dockerfiles that together have every instruction, flag and kind of quoting: what tests and the fuzz target
// break.
#pragma once

#include <string>
#include <vector>

namespace corten::dockerfile {

inline const std::vector<std::string>& sound_files() {
  static const std::vector<std::string> files = {
      "FROM scratch\n",
      "# syntax=docker/dockerfile:1\n# escape=`\n# check=skip=all;error=false\nFROM alpine:3 AS base\nRUN a `\n  b\n",
      "ARG TAG=1.2 OTHER\nARG BASE=\"debian:${TAG}\"\nFROM --platform=$BUILDPLATFORM ${BASE} AS build\nARG TAG\n",
      "FROM a\nENV A=1 B=\"two words\" C='$x' D=a\\ b\nENV E the rest of it\nLABEL \"x y\"=z org.a.b=\"$A\"\n",
      "FROM a\nRUN apt-get update && \\\n    # why\n    apt-get install -y \\\n\n    curl\n",
      "FROM a\nRUN [\"/bin/sh\", \"-c\", \"echo \\\"hi\\\"\"]\nCMD [\"a\"]\nENTRYPOINT [\"b\", \"c\"]\n",
      "FROM a\nRUN --mount=type=cache,target=/c,sharing=locked --mount=type=bind,from=b,src=/x,dst=/y,rw make\n",
      "FROM a\nRUN --network=none --security=sandbox -- --make\n",
      "FROM a\nRUN --mount=type=secret,id=k,env=K,required --mount=type=ssh --mount=type=tmpfs,target=/t,size=1m x\n",
      "FROM a\nRUN <<EOF\nset -e\necho \"$HOME\"\nEOF\nRUN cat <<-A <<'B'\n\tone\n\tA\n\ttwo\nB\n",
      "FROM a\nCOPY <<x.txt <<\"y.txt\" plain /dst/\n$V\nx.txt\n$V\ny.txt\nADD <<Z /z\nZ\n",
      "FROM a\nCOPY --from=0 --chown=1:2 --chmod=u=rwX,go=rX --link --exclude=*.md --parents a b* /c/\n",
      "FROM a\nCOPY [\"a b\", \"/c d\"]\nADD --keep-git-dir=true https://example.com/r.git#main:sub /src\n",
      "FROM a\nADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://e/f /f\n",
      "FROM a\nADD --unpack=false --chown=a:b --link=false https://example.com/f.tar.gz /f\n",
      "FROM a\nHEALTHCHECK --interval=5s --timeout=3s --start-period=1m --start-interval=1ms CMD [\"a\"]\n",
      "FROM a\nHEALTHCHECK CMD curl -f http://localhost || exit 1\nHEALTHCHECK NONE\n",
      "FROM a\nEXPOSE 80 443/tcp $PORT/udp 8000-8010\nVOLUME /data /other\nVOLUME [\"/a b\"]\nUSER ${U:-nobody}:$G\n",
      "FROM a\nWORKDIR /srv/${NAME%%-*}/${X//a/b}\nSTOPSIGNAL SIGTERM\nSHELL [\"/bin/bash\", \"-ec\"]\n",
      "FROM a\nONBUILD RUN --mount=type=cache,target=/c make\nONBUILD COPY . /app\nONBUILD ENV A=b\nMAINTAINER M\n",
      "FROM a\nONBUILD RUN <<EOF\nx\nEOF\nONBUILD CMD [\"a\"]\n",
      "\xef\xbb\xbf# comment\r\nFROM a\r\nRUN b \\\r\n  c\r\nRUN <<E\r\nd\r\nE\r\n",
      "from a as one\nfrom b as two\nfrom one\ncopy --from=two /x /y\nrun echo \"한국어\"\ncmd echo 'it''s'\n",
      "FROM a\nENV V=${A:+${B:-\"${C#*/}\"}} W=${D/x*y/z} Q=\"${E?must be set}\" R=$$ S=\\$T U=\"\\\"\"\n",
  };
  return files;
}

}  // namespace corten::dockerfile
