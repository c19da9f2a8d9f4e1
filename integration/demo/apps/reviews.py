"""Reviews of products: GET /reviews/<product>. Nothing but the standard library; knows nothing of a mesh.

usage: reviews.py PORT VERSION [RATINGS_ADDRESS]
"""

import http.client
import json
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, VERSION = int(sys.argv[1]), sys.argv[2]
RATINGS = sys.argv[3] if len(sys.argv) > 3 else None
local = threading.local()


def stars(product):
    """Ask ratings, over one kept connection for each thread."""
    if not hasattr(local, "connection"):
        local.connection = http.client.HTTPConnection(RATINGS, timeout=5)
    try:
        local.connection.request("GET", f"/ratings/{product}")
        answer = local.connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        local.connection.close()
        del local.connection
        raise
    if answer.status != 200:
        raise RuntimeError(answer.headers.get("weft-error") or f"ratings answered {answer.status}")
    return json.loads(body)["stars"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one write for head and body, or Nagle's algorithm holds the body back for 40 ms

    def do_GET(self):
        product = self.path.removeprefix("/reviews/")
        headers = {"Content-Type": "application/json"}
        try:
            answer = {"version": VERSION, "text": "Does what it says.", "stars": stars(product) if RATINGS else 0}
            status, body = 200, json.dumps(answer).encode()
        except (OSError, http.client.HTTPException, RuntimeError) as problem:
            headers = {"Content-Type": "text/plain", "x-upstream-error": str(problem)}
            status, body = 502, f"ratings: {problem}\n".encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


server = Server(("127.0.0.1", PORT), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
