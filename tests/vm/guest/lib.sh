# Shared by the guest's scripts: result lines, a daemon, a busybox image.
say() { echo "$*" >/dev/ttyS1; }

# check NAME FUNCTION: runs it in a shell that ends at the first failing command; shows the end of what that said.
check() {
  case " $only " in *" $2 "* | "  ") ;; *) return ;; esac
  _begin=$(cut -d' ' -f1 /proc/uptime)
  # Not as a condition: there `set -e` means nothing.
  (set -ex; "$2") >/tmp/check.out 2>&1
  if [ $? = 0 ]; then
    say "PASS $1 $(took "$_begin")"
  else
    say "FAIL $1 $(took "$_begin")"
    show 8 /tmp/check.out
    show 4 /tmp/cortend.log
  fi
  corten ps -aq >/tmp/all 2>/dev/null
  [ ! -s /tmp/all ] || corten rm -f -v $(cat /tmp/all) >/dev/null 2>&1
}
show() { tail -n "$1" "$2" | cut -c1-300 | while read -r line; do say "  | $line"; done; }
took() { awk -v b="$1" '{ printf "%.1f s", $1 - b }' /proc/uptime; }

# within SECONDS COMMAND...: until it succeeds.
within() {
  _left=$(($1 * 10))
  shift
  until "$@"; do
    _left=$((_left - 1))
    [ $_left -gt 0 ] || return 1
    usleep 100000
  done
}
fails() { ! "$@"; }
answers() { corten version >/dev/null 2>&1; }

start_daemon() {
  cortend --data-root /data/corten --pidfile /run/cortend.pid --debug "$@" >>/tmp/cortend.log 2>&1 </dev/null &
  within 30 answers || {
    say "FAIL the daemon does not answer"
    show 8 /tmp/cortend.log
    return 1
  }
}
daemon_is_gone() { ! kill -0 "$1" 2>/dev/null; }
end_daemon() {
  _pid=$(cat /run/cortend.pid)
  kill "$1" "$_pid"
  within 30 daemon_is_gone "$_pid"
}
# A root file system of busybox alone, as a tar at $1.
make_busybox() {
  mkdir -p /tmp/rootfs/bin /tmp/rootfs/etc /tmp/rootfs/tmp /tmp/rootfs/www
  cp /bin/busybox /tmp/rootfs/bin/
  busybox --list | while read -r applet; do [ "$applet" = busybox ] || ln -sf busybox "/tmp/rootfs/bin/$applet"; done
  echo 'root:x:0:0:root:/root:/bin/sh' >/tmp/rootfs/etc/passwd
  echo hello >/tmp/rootfs/www/index.html
  tar -C /tmp/rootfs -cf "$1" .
}
export CORTEN_HOST=unix:///run/corten/corten.sock
# Names of the functions that check() runs; all if empty.
only=$(sed -n 's/.*corten\.only=\([a-z0-9_,]*\).*/\1/p' /proc/cmdline | tr , ' ')
