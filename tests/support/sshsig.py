"""SSHSIG by hand (PROTOCOL.sshsig), well-formed or not: what ssh-keygen would never make. Private keys by the openssl program."""

import base64
import hashlib
import subprocess


def string(data):
    return len(data).to_bytes(4, "big") + data


def mpint(number):
    data = number.to_bytes(number.bit_length() // 8 + 1, "big")  # with room for the sign
    return string(data[1:] if len(data) > 1 and data[0] == 0 and data[1] < 0x80 else data if number else b"")


def armour(blob):
    text = base64.b64encode(blob).decode()
    lines = [text[i : i + 70] for i in range(0, len(text), 70)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


def dearmour(text):
    return base64.b64decode("".join(text.strip().splitlines()[1:-1]))


def signed_bytes(body, namespace=b"jitwg", hashed="sha512", reserved=b""):
    return b"SSHSIG" + string(namespace) + string(reserved) + string(hashed.encode()) + string(hashlib.new(hashed, body).digest())


def blob(public, signature, namespace=b"jitwg", hashed="sha512", reserved=b"", version=1, magic=b"SSHSIG"):
    return (magic + version.to_bytes(4, "big") + string(public) + string(namespace) + string(reserved)
            + string(hashed.encode()) + string(signature))  # fmt: skip


def der_integers(der):
    """The two integers of an ECDSA signature."""
    numbers, at = [], 2
    while at < len(der):
        length = der[at + 1]
        numbers.append(int.from_bytes(der[at + 2 : at + 2 + length], "big"))
        at += 2 + length
    return numbers


class Key:
    """A key pair in PEM, "ed25519", "ecdsa" (P-256) or "rsa" (bits); its public blob; raw signatures over any bytes."""

    def __init__(self, path, kind="ed25519", bits=3072):
        self.kind, self.pem = kind, path
        option = {"ecdsa": ["ec_paramgen_curve:P-256"], "rsa": [f"rsa_keygen_bits:{bits}"]}.get(kind, [])
        algorithm = {"ecdsa": "EC"}.get(kind, kind)
        subprocess.run(["openssl", "genpkey", "-algorithm", algorithm, *sum((["-pkeyopt", o] for o in option), []), "-out", path],
                       check=True, capture_output=True)  # fmt: skip
        der = self._openssl("pkey", "-in", path, "-pubout", "-outform", "DER")
        if kind == "ed25519":
            self.public = string(b"ssh-ed25519") + string(der[-32:])
        elif kind == "ecdsa":
            self.public = string(b"ecdsa-sha2-nistp256") + string(b"nistp256") + string(der[-65:])
        else:
            modulus = self._openssl("rsa", "-in", path, "-noout", "-modulus").decode().split("=")[1]
            self.public = string(b"ssh-rsa") + mpint(65537) + mpint(int(modulus, 16))

    def _openssl(self, *words):
        return subprocess.run(["openssl", *words], check=True, capture_output=True).stdout

    @property
    def line(self):
        kind = self.public[4 : 4 + int.from_bytes(self.public[:4], "big")].decode()
        return f"{kind} {base64.b64encode(self.public).decode()}"

    def raw(self, data, digest="sha512"):
        """Ed25519: 64 bytes; ECDSA: DER; RSA: PKCS #1."""
        message = self.pem.with_suffix(".message")
        message.write_bytes(data)
        words = ["pkeyutl", "-sign", "-rawin", "-inkey", self.pem, "-in", message]
        if self.kind != "ed25519":
            words += ["-digest", "sha256" if self.kind == "ecdsa" else digest]
        return self._openssl(*words)

    def signature(self, data, algorithm=None):
        """As RFC 4253 §6.6 has it."""
        if self.kind == "rsa":
            algorithm = algorithm or "rsa-sha2-512"
            digest = {"rsa-sha2-512": "sha512", "rsa-sha2-256": "sha256", "ssh-rsa": "sha1"}[algorithm]
            return string(algorithm.encode()) + string(self.raw(data, digest))
        if self.kind == "ecdsa":
            r, s = der_integers(self.raw(data))
            return string(b"ecdsa-sha2-nistp256") + string(mpint(r) + mpint(s))
        return string(b"ssh-ed25519") + string(self.raw(data))

    def sign(self, body, algorithm=None, **fields):
        """An SSHSIG over `body` that is right but for what `fields` say (see blob)."""
        body = body.encode() if isinstance(body, str) else body
        of_bytes = {k: v for k, v in fields.items() if k in ("namespace", "hashed", "reserved")}
        made = self.signature(signed_bytes(body, **of_bytes), algorithm)
        return {"body": base64.b64encode(body).decode(), "signature": armour(blob(self.public, made, **fields))}
