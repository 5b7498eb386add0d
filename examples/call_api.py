"""Ask a running server (make web) for a prediction and save its heat map, with nothing but Python's standard library.

python -m examples.call_api lesion.jpg --url http://127.0.0.1:8000 --overlay overlay.png
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import urllib.error
import urllib.request
import uuid
from pathlib import Path


def request_prediction(url: str, image: Path, **fields: str) -> dict[str, object]:
    """Send the image and the form's other fields as multipart/form-data; return the JSON object of the reply."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="image"\r\n\r\n')
    body = "".join(parts).encode() + image.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    request = urllib.request.Request(f"{url.rstrip('/')}/api/v1/predict", body, headers)
    with urllib.request.urlopen(request, timeout=60) as reply:
        return dict(json.load(reply))


def main() -> int:
    """Read the arguments, print the prediction, and return the exit status."""
    parser = argparse.ArgumentParser(description="Ask a running server for a prediction and save its heat map.")
    parser.add_argument("image", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--overlay", type=Path, help="write the heat map over the image to this PNG file")
    arguments = parser.parse_args()
    try:
        reply = request_prediction(arguments.url, arguments.image, explain="1")
    except urllib.error.HTTPError as error:  # the server says in the body what is wrong
        print(f"error {error.code}: {error.read().decode(errors='replace')}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    overlay = str(reply.pop("overlay")).partition("base64,")[2]
    if arguments.overlay:
        arguments.overlay.write_bytes(base64.b64decode(overlay))
    print(json.dumps({name: reply[name] for name in ("label", "verdict", "probabilities", "warnings")}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
