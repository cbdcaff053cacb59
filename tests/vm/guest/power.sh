# First says what a daemon finds after the power was cut, then makes and removes things until it is cut again.
# The other side keeps the account: TRY before a step, ACK once the client was told that it is done.
. /tests/vm/lib.sh
round=$(sed -n 's/.*corten\.round=\([0-9]*\).*/\1/p' /proc/cmdline)
last=$(sed -n 's/.*corten\.last=\([01]\).*/\1/p' /proc/cmdline)

list() {
  corten images --no-trunc --format 'IMAGE {{.Repository}}:{{.Tag}} {{.ID}}' | while read -r line; do say "$line"; done
  corten ps -a --no-trunc --format 'CONTAINER {{.Names}} {{.State}}' | while read -r line; do say "$line"; done
}
# The images of the round before are those that the cut could have hurt: each must run and be readable to its last byte.
try_images() {
  corten images --format '{{.Repository}}:{{.Tag}}' | grep "^r$((round - 1))-" | while read -r image; do
    out=$(corten run --rm "$image" sh -c 'cat /id /made 2>/dev/null; sha256sum /bin/busybox' 2>&1 </dev/null)
    say "RUN $image $(echo $out)"
    if corten save "$image" 2>/tmp/save.err </dev/null | tar -t >/dev/null 2>>/tmp/save.err; then say "SAVED $image"; else say "FAIL save $image: $(cat /tmp/save.err)"; fi
  done
  corten ps -a --format '{{.Names}}' | grep "^c-r$((round - 1))-" | while read -r name; do
    if corten start "$name" >/tmp/out 2>&1 </dev/null; then say "STARTED $name"; else say "FAIL start $name: $(cat /tmp/out)"; fi
    corten rm -f "$name" >/dev/null 2>&1
    corten rm -f "d-${name#c-}" >/dev/null 2>&1
  done
}
traces() {
  for file in /data/corten/content/ingest/*; do [ ! -e "$file" ] || say "FAIL left: $file"; done
  grep -iE ' (error|critical) ' /tmp/cortend.log | head -n 5 | while read -r line; do say "  | $line"; done
  dmesg | grep -E 'EXT4-fs (error|warning)' | head -n 3 | while read -r line; do say "FAIL $line"; done
}
# step WORD NAME COMMAND...: with its account.
step() {
  what="$1 $2"
  shift 2
  say "TRY $what"
  if "$@" >/tmp/out 2>&1; then say "ACK $what $(tail -n 1 /tmp/out)"; else say "FAIL $what: $(tail -n 1 /tmp/out)"; fi
}
work() {
  i=0
  while :; do
    i=$((i + 1))
    name=r$round-$i
    echo "$name" >/tmp/rootfs/id
    tar -C /tmp/rootfs -cf /tmp/image.tar .
    step image "$name:latest" corten import /tmp/image.tar "$name:latest"
    step container "c-$name" corten run --name "c-$name" "$name" sh -c 'echo made >/made'
    step image "$name:made" corten commit "c-$name" "$name:made"
    step image "$name:tag" corten tag "$name:made" "$name:tag"
    step container "d-$name" corten run -d --name "d-$name" "$name:made" sh -c 'while :; do echo x >/f; sleep 0.1; done'
    if [ $((i % 2)) = 0 ]; then
      step noimage "$name:tag" corten rmi "$name:tag"
      step nocontainer "c-$name" corten rm "c-$name"
    fi
  done
}

make_busybox /tmp/busybox.tar
begin=$(cut -d' ' -f1 /proc/uptime)
start_daemon || exit 1
say "READY $(took "$begin")"
if [ "$round" = 1 ]; then
  corten import /tmp/busybox.tar busybox:latest >/dev/null
  step image always:latest corten import /tmp/busybox.tar always:latest
  step container always corten run -d --name always --restart always always sleep 100000
else
  list
  within 5 sh -c '[ "$(corten inspect -f "{{.State.Status}}" always)" = running ]' || say "FAIL the container that always restarts does not"
  try_images
fi
traces
say CHECKED
[ "$last" = 1 ] || work
end_daemon -TERM
