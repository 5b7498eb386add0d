#!/usr/bin/env bash
# Runs deploy/edge/build-kiosk-image.sh on a stand-in for a Raspberry Pi OS image: the same two partitions, but a minimal
# Debian bookworm of this machine's architecture, so that its programs run without emulation. Checks what came out.
# Needs root, loop devices, debootstrap, parted and the package mirrors; some ten minutes, so outside the default tests.
#   sudo tests/kiosk/rehearse.sh dist/dermedge-0.1.0-py3-none-any.whl models/ham10000-resnet18
# It cannot show what needs the hardware: the firmware's boot, the screen, and the overlay over the root file system.
set -euo pipefail
wheel=$(realpath "${1:?wheel}") bundle=$(realpath "${2:?bundle folder}")
repository=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
devices=()
leave() {
  umount -R "$work/root" 2>/dev/null || true
  for device in "${devices[@]}"; do losetup -d "$device"; done
  rm -rf "$work"
}
trap leave EXIT
mkdir "$work/root"

attach() { # an image: loop devices over its two partitions
  local start size
  devices=()
  while IFS=: read -r _ start _ size _; do
    devices+=("$(losetup --find --show --offset "${start%B}" --sizelimit "${size%B}" "$1")")
  done < <(parted -sm "$1" unit B print | grep '^[12]:')
}
detach() {
  umount -R "$work/root"
  losetup -d "${devices[@]}"
  devices=()
}

truncate -s 1500M "$work/standin.img"
parted -s "$work/standin.img" mklabel msdos mkpart primary ext4 4MiB 132MiB mkpart primary ext4 132MiB 100%
attach "$work/standin.img"
mkfs.ext4 -q "${devices[0]}"
mkfs.ext4 -q "${devices[1]}"
mount "${devices[1]}" "$work/root"
debootstrap --variant=minbase --include=systemd-sysv,udev,dbus,libpam-systemd,ca-certificates bookworm "$work/root" >"$work/log"
cp /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/"
mkdir -p "$work/root/boot/firmware"
mount "${devices[0]}" "$work/root/boot/firmware"
echo 'console=tty1 root=PARTUUID=0-02 rootfstype=ext4 rootwait' >"$work/root/boot/firmware/cmdline.txt"
detach

"$repository/deploy/edge/build-kiosk-image.sh" "$work/standin.img" "$wheel" "$bundle"
test -f "$work/standin-dermedge.img"
test ! -e "$work/standin-dermedge.img.part"
attach "$work/standin-dermedge.img"
mount -o ro "${devices[1]}" "$work/root"
mount -o ro "${devices[0]}" "$work/root/boot/firmware"
grep -q '^overlayroot=tmpfs:recurse=0 console=tty1 ' "$work/root/boot/firmware/cmdline.txt"
test -L "$work/root/etc/systemd/system/multi-user.target.wants/dermedge-web.service"
test -L "$work/root/etc/systemd/system/graphical.target.wants/dermedge-screen.service"
test ! -e "$work/root/tmp/dermedge"
systemd-analyze verify --root="$work/root" dermedge-web.service dermedge-screen.service
# The root is mounted read-only here, as it is on the kiosk.
for folder in dev proc; do mount --bind "/$folder" "$work/root/$folder"; done
mount -t tmpfs tmpfs "$work/root/tmp"
cp "$repository/tests/fixtures/golden.jpg" "$work/root/tmp/"
chroot "$work/root" /opt/dermedge/venv/bin/dermedge predict /tmp/golden.jpg --bundle /opt/dermedge/bundle --json
chroot "$work/root" /usr/bin/chromium --version
echo "the kiosk's image came out as it should"
