"""A certificate authority of one's own, a server certificate for loopback, and a client's."""

from __future__ import annotations

import datetime
import ipaddress
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAYS = 30


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    return (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
    )


class Certificates(NamedTuple):
    """An authority and what it signed, as PEM.

    :param authority: the authority's certificate
    :param server: the server's key and chain
    :param client: the client's certificate
    :param client_key: the client's key, PKCS #8 without a password
    """

    authority: str
    server: str
    client: str
    client_key: str


def certificates(authority: str, client: str) -> Certificates:
    """A new authority, a server certificate of it for localhost and 127.0.0.1, and one of a client.

    :param authority: the authority's name
    :param client: the client's name
    """
    ca_key, key, client_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    ca = (
        _builder(authority, authority, ca_key.public_key())
        .add_extension(constraints, critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    server = (
        _builder("localhost", authority, key.public_key())
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    shown = (
        _builder(client, authority, client_key.public_key())
        .add_extension(usage, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    ca_pem = _pem(ca)
    return Certificates(
        ca_pem, _private(key) + _pem(server) + ca_pem, _pem(shown), _private(client_key)
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _private(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
