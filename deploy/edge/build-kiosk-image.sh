#!/usr/bin/env bash
# Turns a Raspberry Pi OS Lite image (Bookworm or Trixie, 64 bit) into a kiosk: the page on the screen, the root file
# system read-only under a RAM overlay, so that pulling the plug harms nothing. Run as root on a Debian machine with
# qemu-user-static (with its binfmt entry), parted, e2fsprogs and util-linux:
#   sudo ./build-kiosk-image.sh 2026-raspios-bookworm-arm64-lite.img dermedge-0.1.0-py3-none-any.whl models/NAME
# tests/kiosk/rehearse.sh runs it on a stand-in image of this machine's architecture.
set -euo pipefail
image=${1:?Raspberry Pi OS image} wheel=${2:?wheel} bundle=${3:?bundle folder}
here=$(cd "$(dirname "$0")" && pwd)
kiosk=${image%.img}-dermedge.img
cp --sparse=always "$image" "$kiosk.part"
truncate -s +3G "$kiosk.part"
parted -s "$kiosk.part" resizepart 2 100%
partition() { # number of a partition: a loop device over that part of the file, which needs no udev
  local start size
  IFS=: read -r _ start _ size _ < <(parted -sm "$kiosk.part" unit B print | grep "^$1:")
  losetup --find --show --offset "${start%B}" --sizelimit "${size%B}" "$kiosk.part"
}
boot=$(partition 1)
system=$(partition 2)
root=$(mktemp -d)
leave() {
  umount -R "$root" 2>/dev/null || true
  losetup -d "$boot" "$system"
  rmdir "$root"
}
trap 'leave; rm -f "$kiosk.part"' EXIT # nothing unfinished stays
e2fsck -fp "$system"
resize2fs "$system"
mount "$system" "$root"
mount "$boot" "$root/boot/firmware"
for folder in dev proc sys; do mount --bind "/$folder" "$root/$folder"; done
mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
mkdir -p "$root/tmp/dermedge"
cp "$wheel" "$root/tmp/dermedge/"
cp -r "$bundle" "$root/tmp/dermedge/bundle"
cp "$here"/../dermedge-web.service "$root/etc/systemd/system/"
chroot "$root" /bin/bash -euo pipefail <<'INSIDE'
apt-get update
apt-get install -y --no-install-recommends python3-venv cage chromium overlayroot
python3 -m venv /opt/dermedge/venv
/opt/dermedge/venv/bin/pip install --no-cache-dir --only-binary=:all: "$(ls /tmp/dermedge/*.whl)[onnx,web]"
mv /tmp/dermedge/bundle /opt/dermedge/bundle
/opt/dermedge/venv/bin/dermedge verify --bundle /opt/dermedge/bundle
useradd --create-home --groups video,render,input screen
cat > /etc/systemd/system/dermedge-screen.service <<'UNIT'
[Unit]
Description=The page on this device's screen
After=dermedge-web.service
Requires=dermedge-web.service

[Service]
User=screen
PAMName=login
TTYPath=/dev/tty1
ExecStartPre=/bin/bash -c 'until (exec 3<>/dev/tcp/127.0.0.1/8000) 2>/dev/null; do sleep 0.5; done'
ExecStart=/usr/bin/cage -- /usr/bin/chromium --kiosk --no-first-run --incognito --disable-translate http://127.0.0.1:8000
Restart=always

[Install]
WantedBy=graphical.target
UNIT
systemctl enable dermedge-web dermedge-screen
systemctl set-default graphical.target
systemctl mask apt-daily.timer apt-daily-upgrade.timer
sed -i '1s/^/overlayroot=tmpfs:recurse=0 /' /boot/firmware/cmdline.txt # as raspi-config does it
rm -rf /tmp/dermedge /var/lib/apt/lists/*
INSIDE
leave
trap - EXIT
mv "$kiosk.part" "$kiosk"
echo "$kiosk is ready: write it to a card with Raspberry Pi Imager or dd"
