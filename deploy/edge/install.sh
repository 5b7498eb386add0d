#!/usr/bin/env bash
# Installs the wheel, a bundle and the folder-watching service on this device. Run as root:
#   sudo ./install.sh dermedge-0.1.0-py3-none-any.whl models/ham10000 [extras, such as onnx,tflite,web]
set -euo pipefail
wheel=${1:?wheel to install} bundle=${2:?bundle folder} extras=${3:-tflite}
here=$(cd "$(dirname "$0")" && pwd)
apt-get install -y --no-install-recommends python3-venv
python3 -m venv /opt/dermedge/venv
/opt/dermedge/venv/bin/pip install --only-binary=:all: "${wheel}[$extras]"
rm -rf /opt/dermedge/bundle.new
cp -r "$bundle" /opt/dermedge/bundle.new
/opt/dermedge/venv/bin/dermedge verify --bundle /opt/dermedge/bundle.new
rm -rf /opt/dermedge/bundle
mv /opt/dermedge/bundle.new /opt/dermedge/bundle
install -d -m 755 /srv/dermedge/in
install -m 644 "$here/dermedge-watch.service" /etc/systemd/system/
systemctl daemon-reload
systemctl enable --now dermedge-watch
