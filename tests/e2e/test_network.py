"""The default bridge, published ports, generated files."""

import json
import socket
import subprocess

import pytest
from conftest import wait_until


def fetch(host, port, timeout=5):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(timeout)
        client.connect((host, port))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        data = b""
        while chunk := client.recv(65536):
            data += chunk
        return data.decode()


def serve(cli, name, *flags):
    cli("run", "-d", "--name", name, *flags, "busybox", "sh", "-c", f"mkdir /w; echo page of {name} > /w/index.html; exec httpd -f -p 80 -h /w")


def published_port(cli, name, port="80/tcp"):
    return int(json.loads(cli("inspect", "-f", "{{json .NetworkSettings.Ports}}", name))[port][0]["HostPort"])


def get(host, port):
    def attempt():
        try:
            return fetch(host, port)
        except OSError:
            return None

    return wait_until(attempt, 5, f"an answer from {host}:{port}")


def test_published_port_from_loopback_and_from_containers(daemon, cli):
    serve(cli, "web", "-p", "80")
    port = published_port(cli, "web")
    assert "page of web" in get("127.0.0.1", port)
    assert cli("port", "web", "80/tcp").splitlines()[0].endswith(f":{port}")
    # From another container: directly, and through the host's address (hairpin).
    address = cli("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web")
    assert cli("run", "--rm", "busybox", "wget", "-qO-", f"http://{address}/") == "page of web"
    assert cli("run", "--rm", "busybox", "wget", "-qO-", f"http://{daemon.subnet}.1:{port}/") == "page of web"
    cli("rm", "-f", "web")
    with pytest.raises(OSError):
        fetch("127.0.0.1", port, 1)


def test_specific_address_and_conflict(cli):
    serve(cli, "one", "-p", "127.0.0.1::80")
    port = published_port(cli, "one")
    assert "page of one" in get("127.0.0.1", port)
    error = cli.fails("run", "--name", "two", "-p", f"127.0.0.1:{port}:80", "busybox", "true")
    assert "port is already allocated" in error
    cli("rm", "-f", "one")
    serve(cli, "three", "-p", f"127.0.0.1:{port}:80")
    assert "page of three" in get("127.0.0.1", port)


def test_port_of_a_foreign_process_is_refused(cli):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        error = cli.fails("run", "--rm", "-p", f"{port}:80", "busybox", "true")
    assert "address already in use" in error


def test_udp_and_ranges(cli):
    echo = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 9999))\nwhile 1: s.sendto(*s.recvfrom(100))"
    host = [word for name in ("usr", "lib", "lib64") for word in ("-v", f"/{name}:/{name}:ro")]
    cli("run", "-d", "--name", "uuu", "-p", "0.0.0.0:0:9999/udp", *host, "busybox", "/usr/bin/python3", "-c", echo)
    port = published_port(cli, "uuu", "9999/udp")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.2)

        def echo():
            client.sendto(b"ping", ("127.0.0.1", port))
            try:
                return client.recvfrom(100)[0] == b"ping"
            except OSError:
                return False

        wait_until(echo, 5, "the UDP echo")
    cli("create", "--name", "rrr", "-p", "127.0.0.1:45000-45002:80-82", "busybox", "sleep", "9")
    bindings = cli.json("inspect", "rrr")[0]["HostConfig"]["PortBindings"]
    assert {key: value[0]["HostPort"] for key, value in bindings.items()} == {"80/tcp": "45000", "81/tcp": "45001", "82/tcp": "45002"}


def test_other_hosts(daemon, cli):
    """A namespace with its own link to this one plays the other host."""
    serve(cli, "web", "-p", "80")
    port = published_port(cli, "web")
    name = f"cth{daemon.number}"
    net = f"10.{200 + daemon.number % 40}.77"
    run = lambda *words: subprocess.run(words, check=True, capture_output=True)
    try:
        run("ip", "netns", "add", name)
        run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "address", "add", f"{net}.1/24", "dev", name)
        run("ip", "link", "set", name, "up")
        run("ip", "-n", name, "address", "add", f"{net}.2/24", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        run("ip", "-n", name, "route", "add", "default", "via", f"{net}.1")
        page = wait_until(
            lambda: subprocess.run(["ip", "netns", "exec", name, "curl", "-s", "-m", "2", f"http://{net}.1:{port}/"],
                                   capture_output=True, text=True).stdout, 10, "the page from another host")  # fmt: skip
        assert "page of web" in page
        # What is not published is not reachable from there.
        address = cli("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web")
        closed = subprocess.run(["ip", "netns", "exec", name, "curl", "-s", "-m", "1", f"http://{address}:80/"], capture_output=True)
        assert closed.returncode != 0
    finally:
        subprocess.run(["ip", "link", "delete", name], capture_output=True)
        subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def test_ports_come_back_after_restart(daemon, cli):
    serve(cli, "web", "-p", "127.0.0.1::80")
    port = published_port(cli, "web")
    cli("restart", "-t", "0", "web")
    assert "page of web" in get("127.0.0.1", published_port(cli, "web"))
    assert port > 0


def test_addresses_are_distinct_and_given_back(daemon, cli):
    for number in range(5):
        cli("run", "-d", "--name", f"a{number}", "busybox", "sleep", "100")
    addresses = {cli("inspect", "-f", "{{.NetworkSettings.IPAddress}}", f"a{number}") for number in range(5)}
    assert len(addresses) == 5 and all(address.startswith(daemon.subnet + ".") for address in addresses)


def test_network_inspect(daemon):
    if daemon.docker is None:
        pytest.skip("no docker CLI on the PATH")
    listing = daemon.docker("network", "ls", "--format", "{{.Name}} {{.Driver}}").splitlines()
    assert sorted(listing) == ["bridge bridge", "host host", "none null"]
    bridge = daemon.docker.json("network", "inspect", "bridge")[0]
    assert bridge["IPAM"]["Config"][0]["Subnet"] == f"{daemon.subnet}.0/24"


def test_bad_ports(cli):
    for port in ("99999:80", "80:99999", "x:80", "80:80/icmp", "300.1.1.1:80:80", "80-82:80-81"):
        cli.fails("create", "-p", port, "busybox", "true")


def hosts_line(cli, name, word):
    lines = [line.split() for line in cli("exec", name, "cat", "/etc/hosts").splitlines()]
    return next((line for line in lines if word in line[1:]), None)


def test_links(cli):
    """--link on the default bridge: names, variables, inspect; and a target that comes back with another address."""
    serve(cli, "db", "-e", "COLOUR=red")
    cli("run", "-d", "--name", "web", "--link", "db:the-store", "busybox", "sleep", "100")
    address = cli("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "db")
    id = cli("inspect", "-f", "{{.Id}}", "db")
    assert hosts_line(cli, "web", "the-store") == [address, "the-store", id[:12], "db"]
    assert cli("exec", "web", "wget", "-qO-", "http://the-store/") == "page of db"
    assert cli.json("inspect", "web")[0]["HostConfig"]["Links"] == ["/db:/web/the-store"]
    for command in (["run", "--rm", "--name", "once", "--link", "db", "busybox", "env"], ["exec", "web", "env"]):
        prefix = "DB" if command[0] == "run" else "THE_STORE"
        assert f"{prefix}_ENV_COLOUR=red" in cli(*command).splitlines()
    # Another address: the file follows, in the running container.
    cli("stop", "-t", "0", "db")
    cli("run", "-d", "--name", "between", "busybox", "sleep", "100")
    cli("start", "db")
    assert cli("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "db") != address
    wait_until(lambda: hosts_line(cli, "web", "the-store")[0] == cli("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "db"), 5, "the new address")
    # A target that does not run, or is not there.
    cli("stop", "-t", "0", "db", "web")
    assert "Cannot link to a non running container: /db AS /web/the-store" in cli.fails("start", "web")
    assert "could not get container for nobody: No such container: nobody" in cli.fails("create", "--link", "nobody:x", "busybox", "true")
    assert "links" in cli.fails("create", "--link", "db", "--network", "host", "busybox", "true")
    cli("rm", "-f", "db")
    cli("start", "web")
    assert cli.json("inspect", "web")[0]["HostConfig"]["Links"] in ([], None)
