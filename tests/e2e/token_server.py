"""A token server as docker-registry's `auth: token` wants one: it signs, with a key of its own, what a user may do.

https://distribution.github.io/distribution/spec/auth/jwt/
"""

import base64
import http.server
import json
import subprocess
import threading
import time
import urllib.parse


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenServer:
    """`users`: name to password. Everybody may pull from public/…, each user do anything in name/…."""

    issuer, service = "corten-test", "registry.test"

    def __init__(self, base, users, lifetime=300):
        self.base, self.users, self.lifetime = base, users, lifetime
        self.key, self.certificate = base / "token-key.pem", base / "token-cert.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=token",
             "-keyout", self.key, "-out", self.certificate],
            check=True, capture_output=True,
        )  # fmt: skip
        self.requests = []  # (user or None, scopes)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.realm = f"http://127.0.0.1:{self.server.server_port}/token"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def registry_config(self):
        return (
            f"auth: {{token: {{realm: '{self.realm}', service: {self.service}, issuer: {self.issuer}, "
            f"rootcertbundle: {self.certificate}}}}}\n"
        )

    def allowed(self, user, scope):
        kind, name, actions = scope.split(":")
        owner = name.split("/")[0]
        if user and owner == user:
            granted = actions.split(",")
        else:
            granted = [action for action in actions.split(",") if action == "pull" and owner == "public"]
        return {"type": kind, "name": name, "actions": granted}

    def token(self, user, scopes):
        chain = "".join(self.certificate.read_text().split("-----")[2].split())
        head = {"typ": "JWT", "alg": "RS256", "x5c": [chain]}
        now = int(time.time())
        claims = {"iss": self.issuer, "sub": user or "", "aud": self.service, "exp": now + self.lifetime, "nbf": now - 10,
                  "iat": now, "jti": str(len(self.requests)), "access": [self.allowed(user, scope) for scope in scopes]}  # fmt: skip
        text = base64url(json.dumps(head).encode()) + "." + base64url(json.dumps(claims).encode())
        signed = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", self.key], input=text.encode(), check=True, capture_output=True
        )
        return text + "." + base64url(signed.stdout)

    def handler(tokens):
        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self, status, document):
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                user = None
                if field := self.headers.get("Authorization"):
                    user, password = base64.b64decode(field.split()[1]).decode().split(":", 1)
                    if tokens.users.get(user) != password:
                        return self.answer(401, {"details": "incorrect username or password"})
                scopes = [scope for text in query.get("scope", []) for scope in text.split()]
                tokens.requests.append((user, scopes))
                return self.answer(200, {"token": tokens.token(user, scopes), "expires_in": tokens.lifetime})

            def log_message(self, *_):
                pass

        return Handler
