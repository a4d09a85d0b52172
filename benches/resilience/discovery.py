"""Envoy's control plane, as little as there can be: `discovery.py PORT FILE` answers every question with what FILE says."""
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        told = Path(sys.argv[2]).read_bytes()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_):
        """Says nothing of each question."""


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
