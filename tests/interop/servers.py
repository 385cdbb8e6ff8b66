"""Servers that are not ours, each on a free port, with its configuration in a folder that goes at the end."""
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PATIENCE = 20 * float(os.environ.get("MESON_TEST_TIMEOUT_MULTIPLIER", "1"))
HERE = pathlib.Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else "python3"

# What the tests need, and in which of Debian's packages it is.
NEEDED = {"node": "nodejs", "nginx": "nginx", "socat": "socat", "openssl": "openssl", "tinyproxy": "tinyproxy-bin"}
SEARCHED = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def program(name):
    found = shutil.which(name, path=SEARCHED)
    if not found:
        raise FileNotFoundError(f"{name} is missing. Debian: apt install {NEEDED[name]}")
    return found


def node_environment():
    """Debian keeps node's packages where node looks only if it is told."""
    paths = [path for path in (os.environ.get("NODE_PATH"), "/usr/share/nodejs") if path]
    return {**os.environ, "NODE_PATH": ":".join(paths)}


def check_all_are_there():
    for name in NEEDED:
        program(name)
    for command, package, environment in (([PYTHON, "-c", "import websockets"], "python3-websockets", None),
                                          ([program("node"), "-e", "require('ws')"], "node-ws", node_environment())):
        if subprocess.run(command, capture_output=True, env=environment).returncode != 0:
            raise FileNotFoundError(f"{' '.join(command)} fails. Debian: apt install {package}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A process that serves. What it prints goes to a file, which is shown if it does not come up."""

    def __init__(self, command, folder, name, **options):
        self.log = folder / f"{name}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log, start_new_session=True,
                                            **{"stdout": log, **options})

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # with the children that it has
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()

    def wait_for(self, is_up):
        """True when it is up, false when it has ended instead."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            if is_up():
                return True
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.process.args} does not come up: {self.log.read_text()}")
            time.sleep(0.02)
        return False


def accepts(port):
    def is_up():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False
    return is_up


class Servers:
    """All servers that a test has started; they end with it."""

    def __init__(self):
        self.stack = contextlib.ExitStack()
        self.folder = pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="sidecar-interop-")))
        self.count = 0

    def close(self):
        self.stack.close()

    def _start(self, command, **options):
        self.count += 1
        server = Server(command, self.folder, f"{pathlib.Path(command[0]).name}-{self.count}", **options)
        self.stack.callback(server.end)
        return server

    def _on_free_port(self, make_command):
        """Somebody else may take the port before the server does; then another one is tried."""
        for _ in range(5):
            port = free_port()
            server = self._start(make_command(port))
            if server.wait_for(accepts(port)):
                return port
        raise RuntimeError(f"{server.process.args} ends: {server.log.read_text()}")

    def _printing_its_port(self, command, **options):
        server = self._start(command, stdout=subprocess.PIPE, **options)
        line = server.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{command} ends: {server.log.read_text()}")
        return int(line)

    def certificates(self):
        """A folder of certificates made anew, see tests/support/make_certificates."""
        folder = self.folder / "certificates"
        folder.mkdir()
        subprocess.run([HERE.parent / "support" / "make_certificates", folder], check=True, timeout=6 * PATIENCE)
        return folder

    def ours(self, certificate="", key="", compressed=False):
        environment = {**os.environ, "INTEROP_CERTIFICATE": str(certificate), "INTEROP_KEY": str(key),
                       "INTEROP_COMPRESSION": "1" * compressed}
        return self._printing_its_port([os.environ["INTEROP_SERVER"]], env=environment)

    def python_websockets(self, compressed=False):
        return self._printing_its_port([PYTHON, str(HERE / "python_server.py"), *["compressed"] * compressed])

    def node_ws(self, compressed=False):
        return self._printing_its_port([program("node"), str(HERE / "node_server.js"), *["compressed"] * compressed],
                                       env=node_environment())

    def nginx(self, certificate, key, backends):
        """A WebSocket proxy with TLS; /name goes to the backend of this name."""
        def command(port):
            folder = self.folder / f"nginx-{port}"
            folder.mkdir()
            locations = "\n".join(f"""
                location /{name}/ {{
                    proxy_pass http://127.0.0.1:{backend}/;
                    proxy_http_version 1.1;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection "upgrade";
                    proxy_set_header Host $host;
                }}""" for name, backend in backends.items())
            temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};"
                                  for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            (folder / "nginx.conf").write_text(f"""
                {"user root;" if os.geteuid() == 0 else ""}
                daemon off;
                worker_processes 1;
                pid {folder}/pid;
                error_log stderr;
                events {{ }}
                http {{
                    access_log off;
                    {temporary}
                    server {{
                        listen 127.0.0.1:{port} ssl;
                        server_name localhost;
                        ssl_certificate {certificate};
                        ssl_certificate_key {key};
                        {locations}
                    }}
                }}""")
            return [program("nginx"), "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
        return self._on_free_port(command)

    def tinyproxy(self, user=None, password=None):
        def command(port):
            configuration = self.folder / f"tinyproxy-{port}.conf"
            configuration.write_text(f"Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 60\nMaxClients 20\n"
                                     + (f"BasicAuth {user} {password}\n" if user else ""))
            return [program("tinyproxy"), "-d", "-c", str(configuration)]
        return self._on_free_port(command)

    def socat_echo(self):
        return self._on_free_port(lambda port: [program("socat"), f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork", "EXEC:cat"])

    def socat_tls_echo(self, certificate, key, ca=None):
        """With `ca`: who has no certificate from it is refused."""
        verify = f",verify=1,cafile={ca}" if ca else ",verify=0"
        return self._on_free_port(lambda port: [
            program("socat"), f"OPENSSL-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,cert={certificate},key={key}{verify}", "EXEC:cat"])

    def socat_unix(self, target="EXEC:cat"):
        """A Unix socket in front of `target`; gives its path."""
        self.count += 1
        path = self.folder / f"socket-{self.count}"
        server = self._start([program("socat"), f"UNIX-LISTEN:{path},fork", target])
        if not server.wait_for(path.exists):
            raise RuntimeError(f"socat ends: {server.log.read_text()}")
        return path

    def s_server(self, certificate, key, *arguments):
        """Sends each line back reversed."""
        return self._on_free_port(lambda port: [program("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-rev", "-quiet",
                                                "-cert", str(certificate), "-key", str(key), *map(str, arguments)])
