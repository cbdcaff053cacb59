"""A registry that wants tokens from a server of their own (the distribution project's token authentication), with either client."""

import base64
import http.server
import json
import pathlib
import re
import shutil
import subprocess
import threading
import time
import urllib.parse
import uuid

import pytest
from registries import Registry

SERVICE, ISSUER = "test-registry", "test-issuer"
PUBLIC = "public/"  # what anybody may pull


def encoded(data):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Tokens(http.server.BaseHTTPRequestHandler):
    """Signs what the user "me" with the password "secret" asks for; the rest of the world may pull what is public."""

    protocol_version = "HTTP/1.1"
    folder, asked, refresh = None, [], True

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        user = None
        if header := self.headers.get("Authorization"):
            user = base64.b64decode(header.split()[1]).decode()
            if user != "me:secret":
                return self.reply(401, {"details": "incorrect username or password"})
        self.grant(query.get("scope", []), user is not None, "offline_token" in query and user)

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if form.get("grant_type") != ["refresh_token"] or form.get("refresh_token") != ["keep-me"]:
            return self.reply(401, {"details": "refresh token is no good"})
        Tokens.asked.append("refresh")
        self.grant(form.get("scope", [""])[0].split(), True, False)

    def grant(self, scopes, known, offline):
        Tokens.asked += scopes
        access = []
        for scope in " ".join(scopes).split():
            kind, name, actions = scope.split(":")
            allowed = [a for a in actions.split(",") if known or (a == "pull" and name.startswith(PUBLIC))]
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        certificate = (self.folder / "cert.pem").read_text().split("-----")[2].replace("\n", "")
        text = encoded({"typ": "JWT", "alg": "RS256", "x5c": [certificate]}) + "." + encoded({
            "iss": ISSUER, "aud": SERVICE, "sub": "me" if known else "", "exp": now + 300, "nbf": now - 10, "iat": now,
            "jti": uuid.uuid4().hex, "access": access,
        })  # fmt: skip
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", self.folder / "key.pem"], input=text.encode(), capture_output=True, check=True
        ).stdout
        token = text + "." + encoded(signature)
        # The older answer has the first name, OAuth's the second.
        body = {"token": token, "access_token": token, "expires_in": 300}
        self.reply(200, {**body, **({"refresh_token": "keep-me"} if offline and Tokens.refresh else {})})

    def reply(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """The address of a registry that believes tokens of the server above."""
    base = tmp_path_factory.mktemp("strict")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=token",
         "-keyout", base / "key.pem", "-out", base / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    Tokens.folder = base
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tokens)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    registry = Registry(
        base,
        more=f"auth:\n  token:\n    realm: http://127.0.0.1:{server.server_address[1]}/token\n    service: {SERVICE}\n"
        f"    issuer: {ISSUER}\n    rootcertbundle: {base}/cert.pem\n",
    )
    yield registry.address
    registry.stop()
    server.shutdown()
    server.server_close()


@pytest.fixture
def clients(clients):
    if clients[1] is None:
        pytest.skip("no docker CLI on the PATH")
    Tokens.asked, Tokens.refresh = [], True
    return clients


def both(clients, *line, input=None, keep=True):
    """Both clients, the same; what that was. Without `keep`, each starts with no login."""
    results = []
    for client in clients:
        config = pathlib.Path(client.environment["DOCKER_CONFIG"])
        if not keep:
            shutil.rmtree(config, ignore_errors=True)
        result = client.run(*line, input=input)
        text = (config / "config.json").read_text() if (config / "config.json").exists() else ""
        error = re.sub(r"(?<!require ')\bdocker\b(?!\.com|-)", "corten", result.err)
        results.append((result.code, result.out, error, json.loads(text) if text else None))
    assert results[0] == results[1], line
    return results[0]


def test_login_keeps_a_token_in_the_passwords_place(clients, strict):
    code, out, _, config = both(clients, "login", "-u", "me", "--password-stdin", strict, input="secret", keep=False)
    assert (code, out) == (0, "Login Succeeded\n")
    assert config["auths"][strict] == {"auth": base64.b64encode(b"me:").decode(), "identitytoken": "keep-me"}
    code, _, error, config = both(clients, "login", "-u", "me", "--password-stdin", strict, input="wrong", keep=False)
    assert code == 1 and "incorrect username or password" in error and config is None
    Tokens.refresh = False
    code, _, _, config = both(clients, "login", "-u", "me", "--password-stdin", strict, input="secret", keep=False)
    assert code == 0 and config["auths"][strict] == {"auth": base64.b64encode(b"me:secret").decode()}


@pytest.mark.parametrize("first, second", [(0, 1), (1, 0)])
def test_one_logs_in_and_the_other_works(clients, strict, first, second):
    one, other = clients[first], clients[second]
    one("login", "-u", "me", "--password-stdin", strict, input="secret")
    Tokens.asked.clear()
    name = f"{strict}/{PUBLIC}box:1"
    other("tag", "busybox", name)
    assert "1: digest: sha256:" in other("push", name)
    assert "refresh" in Tokens.asked and f"repository:{PUBLIC}box:pull,push" in str(Tokens.asked).replace("push,pull", "pull,push")
    other("rmi", name)
    assert other("pull", "-q", name) == name
    assert clients[0]("tags", "-q", name[:-2]) == "1"
    other("manifest", "create", "--insecure", f"{strict}/lists/all:1", name)
    other("manifest", "push", "--insecure", "-p", f"{strict}/lists/all:1")
    shown = [client("manifest", "inspect", "--insecure", f"{strict}/lists/all:1") for client in clients]
    assert shown[0] == shown[1]
    assert not [scope for scope in Tokens.asked if "delete" in scope or "*" in scope]
    other("logout", strict)
    # Without a login: what is public, and nothing else.
    one("rmi", name)
    assert one("pull", "-q", name) == name
    for line in (["pull", f"{strict}/lists/all:1"], ["push", name], ["push", "-q", name]):
        assert both(clients, *line)[0] == 1
    assert clients[0]("tags", "-q", name[:-2]) == "1"
    assert "denied" in clients[0].fails("tags", f"{strict}/lists/all", code=1)
