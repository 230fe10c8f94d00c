"""JSON web tokens (RFC 7519) in the compact form (RFC 7515), signed with RS256, ES256 or HS256."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from weir_lambdas.common.errors import ConfigInvalid

COORDINATE_BYTES = 32
"""Of a P-256 signature's r and s (RFC 7518, 3.4)."""

MIN_HMAC_BYTES = 32
"""RFC 7518, 3.2: a key as long as the hash at least."""


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _hs256(key: str, message: bytes) -> bytes:
    if len(key.encode()) < MIN_HMAC_BYTES:
        raise ValueError(f"an HS256 key has {MIN_HMAC_BYTES} bytes at least")
    return hmac.new(key.encode(), message, hashlib.sha256).digest()


def _rs256(key: str, message: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256

    private = _private(key)
    if not isinstance(private, rsa.RSAPrivateKey):
        raise ValueError("RS256 needs an RSA key")
    return private.sign(message, padding.PKCS1v15(), SHA256())


def _es256(key: str, message: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec, utils
    from cryptography.hazmat.primitives.hashes import SHA256

    private = _private(key)
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != "secp256r1":
        raise ValueError("ES256 needs a key on the curve P-256")
    r, s = utils.decode_dss_signature(private.sign(message, ec.ECDSA(SHA256())))
    return r.to_bytes(COORDINATE_BYTES, "big") + s.to_bytes(COORDINATE_BYTES, "big")


def _private(key: str) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    # A PEM in a JSON secret often has its line breaks written out as \n.
    return load_pem_private_key(key.replace("\\n", "\n").strip().encode() + b"\n", None)


ALGORITHMS: Mapping[str, Callable[[str, bytes], bytes]] = {
    "HS256": _hs256,
    "RS256": _rs256,
    "ES256": _es256,
}


def signed_token(
    key: str,
    algorithm: str,
    claims: Mapping[str, Any],
    now: float,
    lifetime: int,
    key_id: str | None = None,
) -> str:
    """A signed token.

    Parameters
    ----------
    key
        PEM (PKCS #8 or traditional) for RS256 and ES256, text for HS256.
    claims
        Added to ``iat``, ``exp`` and ``jti``, which they may replace.
    now, lifetime
        Seconds.

    Raises
    ------
    ConfigInvalid
        The key does not fit the algorithm. The message has nothing of the key.
    """
    header = {"alg": algorithm, "typ": "JWT"} | ({"kid": key_id} if key_id else {})
    body = {"iat": int(now), "exp": int(now) + lifetime, "jti": uuid.uuid4().hex, **claims}
    parts = (json.dumps(item, separators=(",", ":")).encode() for item in (header, body))
    message = ".".join(map(_encoded, parts)).encode()
    try:
        signature = ALGORITHMS[algorithm](key, message)
    except (ValueError, TypeError) as error:
        own = str(error) if algorithm in str(error) else "the secret holds no unencrypted PEM key"
        raise ConfigInvalid(own, "restApi.auth.jwt.key") from None
    return f"{message.decode()}.{_encoded(signature)}"
