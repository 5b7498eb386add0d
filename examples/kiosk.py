"""A kiosk in twenty lines: a page that shows the camera's newest frame, what it is and where the model looked.

python -m examples.kiosk 0                           # a camera; then open http://127.0.0.1:8080 in full screen
python -m examples.kiosk photos/ --port 8080         # a folder of images instead of a camera
"""

import argparse
import base64
from http.server import BaseHTTPRequestHandler, HTTPServer

from edge_runtime import Classifier
from edge_runtime.imaging.overlay import encode_png, render_side_by_side
from edge_runtime.io.frames import open_frames

parser = argparse.ArgumentParser(description="Show the camera's newest frame and its prediction on a page.")
parser.add_argument("source", help="a camera's number, picamera, a video file or a folder of images")
parser.add_argument("--bundle", help="default: the newest one under models/")
parser.add_argument("--port", type=int, default=8080)
arguments = parser.parse_args()
classifier, frames = Classifier.load(arguments.bundle), open_frames(arguments.source)


class Page(BaseHTTPRequestHandler):
    """Every look at the page takes the next frame; the last one stays when the frames have ended."""

    shown = b"no frame yet"

    def do_GET(self) -> None:
        """Send the page, which asks for the next one after a second."""
        if (frame_hwc := next(frames, None)) is not None:
            prediction = classifier.predict(frame_hwc, explain=True)
            assert prediction.class_activation_map is not None
            png = base64.b64encode(
                encode_png(render_side_by_side(prediction.image_hwc, prediction.class_activation_map))
            )
            text = (
                f"{prediction.label} {prediction.confidence:.0%} {prediction.verdict} {' '.join(prediction.warnings)}"
            )
            Page.shown = b'<img src="data:image/png;base64,%b"><h1>%b</h1>' % (png, text.encode())
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(b'<meta http-equiv="refresh" content="1">' + Page.shown)


with HTTPServer(("127.0.0.1", arguments.port), Page) as server:
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
