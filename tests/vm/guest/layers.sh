# The snapshot drivers on this kernel: images go through loop devices here, and layers are attached somewhere for each mount.
. /tests/vm/lib.sh
suite=/tests/snapshots_contract_test
[ -x $suite ] || { say "FAIL the contract suite was not built: tools/dev-build snapshots_contract_test"; exit 1; }
modprobe -a loop overlay erofs || say "FAIL modules"

# What the driver finds out by itself, in both forms, alone and with layers below in an overlay of their own.
driver() {
  $suite --gtest_brief=1 --gtest_filter="Drivers/SnapshotsContract.*/$1" >/tmp/suite 2>&1 || { grep -v info /tmp/suite; return 1; }
  fails grep SKIPPED /tmp/suite || return 1
  # A filter that fits nothing passes, too.
  grep -E '^\[==========\] [1-9][0-9]* tests? from' /tmp/suite
}
layers_in_directories() { driver overlay; }
layers_in_images() { driver images; }
layers_in_compressed_images() { driver images_compressed; }
grouped_directories() { driver overlay_grouped; }
grouped_images() { driver images_grouped; }
no_device_is_left() { within 5 sh -c '! losetup -a | grep -q .'; }
the_daemon_uses_images() {
  make_busybox /tmp/busybox.tar
  start_daemon
  corten import /tmp/busybox.tar busybox:latest
  corten info -f '{{json .DriverStatus}}' | grep 'EROFS images on loop devices'
  [ "$(corten run --name aa busybox sh -c 'echo made >/made; rm /etc/passwd; cat /www/index.html')" = hello ]
  corten diff aa | grep 'D /etc/passwd'
  corten commit aa made
  [ "$(corten run --rm made cat /made)" = made ]
  fails corten run --rm made test -e /etc/passwd
  corten rm aa
  corten rmi made busybox
  within 10 no_device_is_left
}
without_loop_devices() {
  make_busybox /tmp/busybox.tar
  [ -e /run/cortend.pid ] || start_daemon
  corten import /tmp/busybox.tar busybox:latest
  end_daemon -TERM
  mv /dev/loop-control /dev/hidden
  start_daemon
  corten info -f '{{json .DriverStatus}}' | grep 'directories (no images: '
  echo other >/tmp/rootfs/other
  tar -C /tmp/rootfs -cf /tmp/other.tar .
  corten import /tmp/other.tar other:latest
  [ "$(corten run --rm other cat /other)" = other ]
  # The layer that is there as an image is said to need what is not there.
  fails corten run --rm busybox true 2>/tmp/needs
  cat /tmp/needs
  grep 'loop devices' /tmp/needs
  end_daemon -TERM
  fails cortend --data-root /data/corten --storage-opt layers=image 2>/tmp/refused
  cat /tmp/refused
  grep 'cannot be kept as images here' /tmp/refused
  fails cortend --data-root /data/corten --storage-opt compression=lz4 2>/tmp/refused
  cat /tmp/refused
  grep 'layers cannot be compressed here' /tmp/refused
  mv /dev/hidden /dev/loop-control
  start_daemon
  [ "$(corten run --rm busybox echo again)" = again ]
  [ "$(corten run --rm other cat /other)" = other ]
  corten rmi busybox other
}
# Not on the tmpfs, which knows neither mapped owners nor all attributes.
mkdir -p /data/tmp
mount --bind /data/tmp /tmp
check "layers in directories" layers_in_directories
check "layers in images" layers_in_images
check "layers in compressed images" layers_in_compressed_images
check "directories, the lower ones in an overlay of their own" grouped_directories
check "images, the lower ones in an overlay of their own" grouped_images
check "no loop device is left" no_device_is_left
check "the daemon uses images" the_daemon_uses_images
check "without loop devices" without_loop_devices
end_daemon -TERM || say "FAIL the daemon does not stop"
umount /tmp
