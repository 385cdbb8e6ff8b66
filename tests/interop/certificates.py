"""Certificates made anew for each run, so that none expires with the calendar."""
import pathlib
import subprocess


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments}: {done.stderr}")


class Authority:
    """A certificate authority in a folder of its own, and what it has signed."""

    def __init__(self, folder, name):
        self.folder = pathlib.Path(folder, name)
        self.folder.mkdir()
        self.certificate = self.folder / "authority.pem"
        self.key = self.folder / "authority.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                "-keyout", self.key, "-out", self.certificate)

    def sign(self, name, *alternative_names, usage="serverAuth"):
        """Paths of a certificate for these names, and of its key."""
        key, request, certificate, extensions = (self.folder / f"{name}.{end}" for end in ("key", "csr", "pem", "ext"))
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        lines = ["basicConstraints=CA:FALSE", f"extendedKeyUsage={usage}"]
        if alternative_names:
            lines.append("subjectAltName=" + ",".join(alternative_names))
        extensions.write_text("\n".join(lines) + "\n")
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-days", "2",
                "-extfile", extensions, "-out", certificate)
        return certificate, key
