# What a container gets on a kernel of Debian 12 with control groups v2 only and every capability.
. /tests/vm/lib.sh

api() { curl -sS --unix-socket /run/corten/corten.sock "http://d$1"; }
state() { corten inspect -f "$2" "$1"; }
pid_of() { state "$1" '{{.State.Pid}}'; }
# The directory of a container's control group.
group() { echo "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(pid_of "$1")/cgroup")"; }
is() { [ "$1" = "$2" ] || { echo "got <$1>, wanted <$2>"; return 1; }; }

daemon_knows_the_machine() {
  is "$(corten info -f '{{.CgroupVersion}} {{.CgroupDriver}}')" "2 cgroupfs"
  is "$(corten info -f '{{.MemoryLimit}} {{.SwapLimit}} {{.PidsLimit}} {{.CPUShares}} {{.CpuCfsQuota}} {{.CPUSet}}')" "true true true true true true"
  corten info 2>&1 >/dev/null | tee /tmp/warnings
  fails grep -i warning /tmp/warnings
}
run_and_exec() {
  is "$(corten run --rm busybox echo hi)" hi
  corten run -d --name aa busybox sleep 1000
  is "$(corten exec aa echo there)" there
  is "$(corten exec aa sh -c 'grep -c . /proc/self/cgroup')" 1
  fails corten exec aa false
  is "$(corten run --rm busybox sh -c 'exit 7' || echo $?)" 7
}
cgroup_namespace_is_private() {
  is "$(corten run --rm busybox cat /proc/self/cgroup)" 0::/
  corten run --rm --cgroupns host busybox cat /proc/self/cgroup | grep -E '^0::/.*[0-9a-f]{64}$'
  fails corten run --rm busybox mkdir /sys/fs/cgroup/x
  corten run --rm busybox test -f /sys/fs/cgroup/memory.max
}
exec_joins_the_group() {
  corten run -d --name aa busybox sleep 1000
  corten exec -d aa sleep 2000
  within 5 sh -c "grep -q . $(group aa)/pids.current && [ \$(cat $(group aa)/pids.current) = 2 ]"
  is "$(corten exec aa cat /proc/self/cgroup)" 0::/
}
memory_limit_ends_in_an_oom_kill() {
  is "$(corten run --name aa -m 16m --memory-swap 16m busybox sh -c 'x=a; while :; do x=$x$x; done' || echo $?)" 137
  is "$(state aa '{{.State.OOMKilled}} {{.State.ExitCode}}')" "true 137"
}
memory_files() {
  corten run -d --name aa -m 64m --memory-reservation 32m --memory-swap 96m busybox sleep 1000
  g=$(group aa)
  is "$(cat "$g/memory.max") $(cat "$g/memory.low") $(cat "$g/memory.swap.max")" "67108864 33554432 33554432"
}
fork_bomb_is_held() {
  corten run -d --name aa --pids-limit 20 busybox sh -c 'f() { f | f & }; f; sleep 1000'
  usleep 500000
  g=$(group aa)
  is "$(cat "$g/pids.max")" 20
  [ "$(cat "$g/pids.current")" -le 20 ]
  corten kill aa
}
usage() { sed -n 's/usage_usec //p' "$(group "$1")/cpu.stat"; }
shares_divide_a_cpu() {
  for s in 512 1024; do corten run -d --name c$s --cpuset-cpus 0 --cpu-shares $s busybox sh -c 'while :; do :; done'; done
  b512=$(usage c512) b1024=$(usage c1024)
  sleep 6
  d512=$(($(usage c512) - b512)) d1024=$(($(usage c1024) - b1024))
  ratio=$((d1024 * 100 / d512))
  say "  512:1024 shares gave 1:$((ratio / 100)).$((ratio % 100))"
  [ $ratio -gt 160 ] && [ $ratio -lt 240 ]
  corten kill c512 c1024
}
cpus_limit() {
  corten run -d --name aa --cpus 0.25 busybox sh -c 'while :; do :; done'
  is "$(cat "$(group aa)/cpu.max")" "25000 100000"
  b=$(usage aa)
  sleep 4
  d=$(($(usage aa) - b))
  say "  --cpus 0.25 used $((d / 40000)) % of a CPU"
  [ $d -gt 600000 ] && [ $d -lt 1300000 ]
  corten kill aa
}
blkio_throttle() {
  corten run -d --name aa --device-write-bps /dev/vdb:1mb -v /data:/out busybox sleep 1000
  grep wbps=1048576 "$(group aa)/io.max"
  b=$(cut -d' ' -f1 /proc/uptime)
  corten exec aa dd if=/dev/zero of=/out/throttled bs=256k count=12 oflag=direct
  rm /data/throttled
  seconds=$(awk -v b="$b" '{ printf "%d", $1 - b }' /proc/uptime)
  say "  3 MiB at 1 MB/s took $seconds s"
  [ "$seconds" -ge 2 ]
}
blkio_weight() {
  modprobe bfq
  echo bfq >/sys/block/vdb/queue/scheduler
  corten run -d --name aa --blkio-weight 300 busybox sleep 1000
  grep -r . "$(group aa)"/io*weight
  cat "$(group aa)"/io*weight | grep -E '[0-9]'
}
pause_freezes() {
  corten run -d --name aa busybox sh -c 'while :; do :; done'
  corten pause aa
  is "$(state aa '{{.State.Status}} {{.State.Paused}}')" "paused true"
  grep 'frozen 1' "$(group aa)/cgroup.events"
  b=$(usage aa)
  sleep 1
  is "$(usage aa)" "$b"
  corten unpause aa
  grep 'frozen 0' "$(group aa)/cgroup.events"
  is "$(state aa '{{.State.Status}}')" running
  corten pause aa
  corten kill aa || corten rm -f aa
}
update_writes_the_files() {
  corten run -d --name aa -m 64m busybox sleep 1000
  corten update -m 32m --memory-swap 32m --cpus 0.5 --pids-limit 30 --cpu-shares 2048 --cpuset-cpus 1 aa
  g=$(group aa)
  is "$(cat "$g/memory.max") $(cat "$g/memory.swap.max") $(cat "$g/pids.max") $(cat "$g/cpuset.cpus")" "33554432 0 30 1"
  is "$(cat "$g/cpu.max")" "50000 100000"
  say "  cpu-shares 2048 is cpu.weight $(cat "$g/cpu.weight")"
  [ "$(cat "$g/cpu.weight")" -gt 60 ]
}
stats_over_the_api() {
  corten run -d --name aa -m 64m busybox sh -c 'dd if=/dev/zero of=/tmp/x bs=1M count=8; sleep 1000'
  usleep 500000
  api '/containers/aa/stats?stream=false' >/tmp/stats
  jq -e '.memory_stats.limit == 67108864 and .memory_stats.usage > 1000000 and .pids_stats.current == 1 and
         .cpu_stats.cpu_usage.total_usage > 1000000 and .cpu_stats.online_cpus == 2 and .networks.eth0.rx_bytes >= 0 and
         (.memory_stats.stats | has("inactive_file")) and (.cpu_stats | has("system_cpu_usage"))' /tmp/stats || { cat /tmp/stats; return 1; }
  is "$(corten stats --no-stream --format '{{.Name}} {{.PIDs}}' aa)" "aa 1"
}
devices_are_ruled_by_bpf() {
  fails corten run --rm --cap-add MKNOD busybox sh -c 'mknod /tmp/d b 254 0 && dd if=/tmp/d of=/dev/null bs=512 count=1'
  corten run --rm --cap-add MKNOD busybox sh -c 'mknod /tmp/n c 1 3 && echo x >/tmp/n'
  corten run --rm --cap-add MKNOD busybox sh -c 'mknod /tmp/d b 254 0'
  fails corten run --rm --cap-add MKNOD busybox sh -c 'mknod /tmp/m c 1 1 && head -c 1 /tmp/m'
  numbers=$(stat -c '%Hr:%Lr' /dev/vdb)
  corten run --rm --device-cgroup-rule "b $numbers r" --cap-add MKNOD busybox sh -c "mknod /tmp/d b ${numbers%:*} ${numbers#*:} && dd if=/tmp/d of=/dev/null bs=512 count=1"
  corten run --rm --device /dev/vdb:/dev/disk:r busybox dd if=/dev/disk of=/dev/null bs=512 count=1
  fails corten run --rm --device /dev/vdb:/dev/disk:r busybox sh -c 'true >/dev/disk'
  corten run --rm --privileged busybox dd if=/dev/vdb of=/dev/null bs=512 count=1
}
cgroup_parent() {
  corten run -d --name aa --cgroup-parent /outer/inner -m 64m busybox sleep 1000
  group aa | grep -E '^/sys/fs/cgroup/outer/inner/[0-9a-f]{64}$'
  is "$(cat "$(group aa)/memory.max")" 67108864
  is "$(corten run --rm --cgroup-parent /outer/inner busybox echo again)" again
  corten rm -f aa
  within 5 rmdir /sys/fs/cgroup/outer/inner
  rmdir /sys/fs/cgroup/outer
}
limits_can_be_raised() {
  corten create --name aa --ulimit nofile=2000000:2000000 --oom-score-adj -500 busybox true 2>/tmp/warnings
  cat /tmp/warnings
  [ ! -s /tmp/warnings ]
  echo 2000000 >/proc/sys/fs/nr_open
  is "$(corten run --rm --ulimit nofile=2000000:2000000 busybox sh -c 'ulimit -Hn')" 2000000
  is "$(corten run --rm --oom-score-adj -500 busybox cat /proc/self/oom_score_adj)" -500
  is "$(corten run --rm --ulimit memlock=-1:-1 busybox sh -c 'ulimit -l')" unlimited
}
privileged() {
  corten run --rm --privileged busybox sh -c 'grep -i capeff /proc/self/status' | tee /tmp/caps
  grep -i '1ffffffffff' /tmp/caps
  corten run --rm --privileged busybox sh -c 'mount -t tmpfs none /tmp && mkdir /sys/fs/cgroup/x && rmdir /sys/fs/cgroup/x && test -b /dev/vdb'
  fails corten run --rm busybox mount -t tmpfs none /tmp
}
files_in_the_container() {
  corten run --name aa busybox sh -c 'echo one >/etc/made; rm /www/index.html; mkdir /new; echo two >/new/x'
  corten diff aa | sort >/tmp/diff
  grep 'A /etc/made' /tmp/diff
  grep 'D /www/index.html' /tmp/diff
  corten cp aa:/new/x /tmp/copied
  is "$(cat /tmp/copied)" two
  corten commit aa made
  is "$(corten run --rm made cat /etc/made /new/x | tr '\n' ' ')" "one two "
  fails corten run --rm made test -e /www/index.html
  corten commit aa again
  corten save made | tar -t | grep -q manifest.json
  corten rmi made again
}
volumes_and_mounts() {
  mkdir -p /tmp/bound && echo bound >/tmp/bound/file
  is "$(corten run --rm -v /tmp/bound:/b:ro busybox cat /b/file)" bound
  fails corten run --rm -v /tmp/bound:/b:ro busybox sh -c 'echo x >/b/file'
  corten run --rm -v vol:/v busybox sh -c 'echo kept >/v/f'
  is "$(corten run --rm -v vol:/v busybox cat /v/f)" kept
  corten run --rm --tmpfs /t:size=1m busybox sh -c 'fails() { ! "$@"; }; fails dd if=/dev/zero of=/t/x bs=1M count=2'
  corten run --rm --read-only busybox sh -c '! echo x >/x'
  is "$(corten run --rm --shm-size 8m busybox df -m /dev/shm | awk 'NR == 2 { print $2 }')" 8
}
port_on_loopback() {
  corten run -d --name web -p 8080:80 busybox httpd -f -h /www
  within 10 sh -c '[ "$(curl -s --max-time 3 http://127.0.0.1:8080/)" = hello ]'
  is "$(corten port web 80)" "$(printf '0.0.0.0:8080\n[::]:8080')" || corten port web
  corten run -d --name own -p 127.0.0.1::80 busybox httpd -f -h /www
  within 10 sh -c '[ "$(curl -s --max-time 3 http://'"$(corten port own 80/tcp)"'/)" = hello ]'
  corten rm -f web
  fails curl -s --max-time 3 http://127.0.0.1:8080/
}
containers_reach_each_other() {
  corten run -d --name web busybox httpd -f -h /www
  address=$(state web '{{.NetworkSettings.IPAddress}}')
  within 10 corten run --rm busybox wget -q -O - "http://$address/"
}
daemon_killed_and_started() {
  corten run -d --name aa -p 8081:80 -m 32m busybox sh -c 'httpd -h /www; while :; do echo tick; sleep 1; done'
  id=$(state aa '{{.Id}}') pid=$(pid_of aa)
  end_daemon -9
  kill -0 "$pid"
  within 5 sh -c '[ "$(curl -s --max-time 3 http://127.0.0.1:8081/)" = hello ]'
  start_daemon
  is "$(state aa '{{.Id}} {{.State.Pid}} {{.State.Status}}')" "$id $pid running"
  is "$(corten exec aa echo alive)" alive
  corten logs aa | grep tick
  corten update -m 48m --memory-swap 48m aa
  is "$(cat "$(group aa)/memory.max")" 50331648
  corten stop -t 1 aa
  is "$(state aa '{{.State.Status}}')" exited
}
restart_policy() {
  corten run -d --name aa --restart on-failure:2 busybox false
  within 20 sh -c '[ "$(corten inspect -f "{{.State.Status}} {{.RestartCount}}" aa)" = "exited 2" ]'
}
nothing_is_left() {
  within 10 sh -c '! find /sys/fs/cgroup -type d | grep -E "[0-9a-f]{64}"'
  fails grep /data/corten /proc/self/mountinfo
}
remapped_users() {
  is "$(corten run --rm busybox id -u)" 0
  corten run -d --name aa busybox sleep 1000
  is "$(stat -c %u "/proc/$(pid_of aa)")" 100000
  corten exec aa sh -c 'echo x >/root/x 2>/dev/null || echo x >/x; test -O /x'
  echo in >/tmp/in && chown 7:8 /tmp/in && corten cp -a /tmp/in aa:/in
  is "$(corten exec aa stat -c %u:%g /in)" 7:8
  is "$(corten cp aa:/in - | tar -tv --numeric-owner | grep -c 7/8)" 1
  corten run --rm busybox sh -c 'mkdir /d && mv /www/index.html /d/ && rm -r /www && echo more >>/etc/passwd && touch /bin/new && chown 7:7 /d && test "$(stat -c %u /d)" = 7'
  corten run --rm -m 32m --pids-limit 10 busybox sh -c 'cat /proc/self/cgroup; cat /proc/self/uid_map' | grep 100000
  corten run -d --name web -p 8082:80 busybox httpd -f -h /www
  within 10 sh -c '[ "$(curl -s --max-time 3 http://127.0.0.1:8082/)" = hello ]'
  corten commit aa remapped
  is "$(corten run --rm remapped cat /x)" x
  corten run --rm --userns host busybox cat /proc/self/uid_map | grep -E '^ +0 +0 +4294967295'
}

make_busybox /tmp/busybox.tar
start_daemon || exit 1
corten import /tmp/busybox.tar busybox:latest >/dev/null || say "FAIL import"
check "the daemon knows the machine" daemon_knows_the_machine
check "run and exec" run_and_exec
check "control group namespace" cgroup_namespace_is_private
check "exec joins the control group" exec_joins_the_group
check "memory limit ends in an OOM kill" memory_limit_ends_in_an_oom_kill
check "memory files" memory_files
check "a fork bomb is held by the pids limit" fork_bomb_is_held
check "shares divide a CPU" shares_divide_a_cpu
check "--cpus holds" cpus_limit
check "write throttle" blkio_throttle
check "blkio weight" blkio_weight
check "pause freezes" pause_freezes
check "update writes the files" update_writes_the_files
check "stats over the API" stats_over_the_api
check "device rules by BPF" devices_are_ruled_by_bpf
check "--cgroup-parent" cgroup_parent
check "limits can be raised" limits_can_be_raised
check "--privileged" privileged
check "files, diff, cp, commit, save" files_in_the_container
check "volumes and mounts" volumes_and_mounts
check "published port on loopback" port_on_loopback
check "containers reach each other" containers_reach_each_other
check "daemon killed and started" daemon_killed_and_started
check "restart policy" restart_policy
check "nothing is left" nothing_is_left
end_daemon -TERM || say "FAIL the daemon does not stop"
nothing_runs() { within 5 sh -c '! pidof corten-shim'; }
check "nothing runs after the end" nothing_runs
start_daemon --userns-remap default && corten import /tmp/busybox.tar busybox:latest >/dev/null && check "userns-remap" remapped_users
end_daemon -TERM || say "FAIL the daemon does not stop"
