# SPDX-License-Identifier: MIT
"""A certificate authority of our own and certificates by it, made with the openssl program."""
import os
import ssl
import subprocess


class Certificate:
    def __init__(self, cert, key, ca):
        self.cert = cert
        self.key = key
        self.ca = ca


class Authority:
    def __init__(self, directory, name="ca"):
        self.directory = str(directory)
        self.name = name
        self.cert = os.path.join(self.directory, f"{name}.crt")
        self.key = os.path.join(self.directory, f"{name}.key")
        self._run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                  "-keyout", self.key, "-out", self.cert, "-days", "30",
                  "-subj", f"/CN=Test {name}",
                  "-addext", "basicConstraints=critical,CA:TRUE",
                  "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def _run(self, *args):
        done = subprocess.run(["openssl", *args], capture_output=True, text=True, timeout=30,
                              stdin=subprocess.DEVNULL, check=False)
        assert done.returncode == 0, done.stderr

    def issue(self, name, sans=("DNS:localhost", "IP:127.0.0.1"), days=30, purpose="server"):
        """A certificate in a file pair of its own; `purpose` is server or client."""
        base = os.path.join(self.directory, name)
        extensions = f"{base}.ext"
        with open(extensions, "w") as file:
            file.write(f"subjectAltName={','.join(sans)}\nextendedKeyUsage={purpose}Auth\n"
                       "basicConstraints=CA:FALSE\n")
        self._run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                  "-keyout", f"{base}.key", "-out", f"{base}.csr", "-subj", f"/CN={name}")
        self._run("x509", "-req", "-in", f"{base}.csr", "-CA", self.cert, "-CAkey", self.key,
                  "-CAcreateserial", "-out", f"{base}.crt", "-days", str(days),
                  "-extfile", extensions)
        return Certificate(f"{base}.crt", f"{base}.key", self.cert)

    def client_context(self, certificate=None):
        """How a test client trusts this authority; with `certificate` it shows one of its own."""
        context = ssl.create_default_context(cafile=self.cert)
        if certificate is not None:
            context.load_cert_chain(certificate.cert, certificate.key)
        return context
