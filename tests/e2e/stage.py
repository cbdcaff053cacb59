"""A registry in the test's own process, which does what the test wants at the moment the test wants it."""

import http.server
import json
import os
import re
import threading

from archives import digest_of, tar_of

OCI = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


class Stage:
    """Blobs and manifests in memory. `act` is asked first, with the handler; True: it has answered."""

    def __init__(self):
        self.blobs, self.manifests = {}, {}
        self.requests = []  # (method, path, range)
        self.sent = {}  # digest to bytes of it that went out
        self.act = lambda handler: False
        self.release = threading.Event()  # ends all stalls
        self.gone = threading.Event()  # a client has hung up while its answer stalled
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # clients hang up as they like
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self.server.server_port}"

    def add(self, data):
        self.blobs[digest_of(data)] = data
        return {"digest": digest_of(data), "size": len(data)}

    def image(self, tag, *layers):
        """An image of these plain tars; their digests."""
        config = {"architecture": os.uname().machine.replace("x86_64", "amd64").replace("aarch64", "arm64"), "os": "linux",
                  "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}}  # fmt: skip
        document = {"schemaVersion": 2, "mediaType": OCI,
                    "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **self.add(json.dumps(config).encode())},
                    "layers": [{"mediaType": LAYER, **self.add(layer)} for layer in layers]}  # fmt: skip
        body = json.dumps(document).encode()
        self.manifests[tag] = self.manifests[digest_of(body)] = body
        return [digest_of(layer) for layer in layers]

    def stop(self):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()

    def stall(self, handler):
        """Until the test's end or the client's."""
        handler.connection.settimeout(0.05)
        while not self.release.is_set():
            try:
                if not handler.connection.recv(65536):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        if not self.release.is_set():
            self.gone.set()
        handler.close_connection = True

    def send_blob(self, handler, digest, until=None, then=None):
        data = self.blobs[digest]
        start = 0
        if match := re.match(r"bytes=(\d+)-", handler.headers.get("Range", "")):
            start = int(match[1])
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        end = len(data) if until is None else max(start, until)
        if handler.command == "GET":
            handler.wfile.write(data[start:end])
            handler.wfile.flush()
            self.sent[digest] = self.sent.get(digest, 0) + end - start
        if end < len(data) and handler.command == "GET":
            if then:
                then(handler)
            handler.close_connection = True

    def handler(stage):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status, headers=None, body=b""):
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                if "Transfer-Encoding" not in (headers or {}):
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def any(self):
                stage.requests.append((self.command, self.path, self.headers.get("Range")))
                if stage.act(self):
                    return
                last = self.path.rsplit("/", 1)[-1]
                if self.path == "/v2/":
                    self.answer(200, {}, b"{}")
                elif "/manifests/" in self.path and last in stage.manifests:
                    body = stage.manifests[last]
                    self.answer(200, {"Content-Type": OCI, "Docker-Content-Digest": digest_of(body)}, body)
                elif "/blobs/" in self.path and last in stage.blobs:
                    stage.send_blob(self, last)
                else:
                    self.answer(404, {}, b"{}")

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = any

            def log_message(self, *_):
                pass

        return Handler
