"""Writes a key set and tokens, valid and invalid ones, as JSON: an implementation that is not ours."""
import base64, hashlib, hmac, json, sys, time

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

issuer, now = sys.argv[1], int(time.time())
base = {"iss": issuer, "exp": now + 300, "iat": now, "nbf": now, "sub": "python", "scope": "a b c",
        "groups": ["x", "y"], "aud": ["orders", "other"]}
keys = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "short": rsa.generate_private_key(65537, 1024),
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "ed": ed25519.Ed25519PrivateKey.generate(),
    "only-rs256": rsa.generate_private_key(65537, 2048),
    "encryption": rsa.generate_private_key(65537, 2048),
    "foreign": rsa.generate_private_key(65537, 2048),
}

def public(name):
    key = keys[name].public_key()
    kind = RSAAlgorithm if name in ("rsa", "short", "only-rs256", "encryption") else ECAlgorithm if name[0] == "p" else OKPAlgorithm
    jwk = json.loads(kind.to_jwk(key)) | {"kid": name}
    jwk.pop("key_ops", None)
    if name == "only-rs256":
        jwk["alg"] = "RS256"
    if name == "encryption":
        jwk["use"] = "enc"
    return jwk

def part(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

def sign(alg="RS256", key="rsa", kid=None, header=None, **claims):
    payload = {name: value for name, value in (base | claims).items() if value is not None}
    fields = {"kid": kid or key} | (header or {})
    fields = {name: value for name, value in fields.items() if value is not None}
    # The library checks some claims before it signs; these are signed as bytes.
    return jwt.api_jws.encode(json.dumps(payload).encode(), keys[key], algorithm=alg, headers=fields)

def sign_header(header):
    message = part(header) + "." + part(base)
    return message + "." + part(keys["rsa"].sign(message.encode(), padding.PKCS1v15(), hashes.SHA256()))

def hmac_token(secret, kid="rsa"):
    message = part({"alg": "HS256", "typ": "JWT", "kid": kid}) + "." + part(base)
    return message + "." + part(hmac.new(secret, message.encode(), hashlib.sha256).digest())

pem = keys["rsa"].public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
der = keys["rsa"].public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
good = sign()
head, body, signature = good.split(".")
foreign_jwk = json.loads(RSAAlgorithm.to_jwk(keys["foreign"].public_key()))

valid = {
    **{alg: sign(alg) for alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")},
    "ES256": sign("ES256", "p256"), "ES384": sign("ES384", "p384"), "EdDSA": sign("EdDSA", "ed"),
    "alg of the key": sign("RS256", "only-rs256"),
    "no kid": sign("ES256", "p256", header={"kid": None}),
    "no nbf and iat": sign(nbf=None, iat=None),
    "fractions": sign(exp=now + 300.5, iat=now - 0.5),
    "within the leeway": sign(exp=now - 30, nbf=now + 30, iat=now + 30),
    "one audience": sign(aud="orders"),
    "jku, jwk and x5u are ignored": sign(header={"jku": "http://127.0.0.1:1/", "jwk": foreign_jwk, "x5u": "http://127.0.0.1:1/"}),
    "another typ": sign(header={"typ": "at+jwt"}),
    "no typ": sign_header({"alg": "RS256", "kid": "rsa"}),
}
invalid = {
    "none": part({"alg": "none"}) + "." + body + ".",
    "none with signature": part({"alg": "none", "kid": "rsa"}) + "." + body + "." + signature,
    "None": part({"alg": "None", "kid": "rsa"}) + "." + body + ".",
    "HS256 with the PEM": hmac_token(pem), "HS256 with the trimmed PEM": hmac_token(pem.strip()),
    "HS256 with the DER": hmac_token(der), "HS256 with the JWK": hmac_token(json.dumps(public("rsa")).encode()),
    "HS256 with an empty secret": hmac_token(b""),
    "short key": sign("RS256", "short"), "key for encryption": sign("RS256", "encryption"),
    "foreign key with a known kid": sign("RS256", "foreign", kid="rsa"),
    "foreign key in the header": sign("RS256", "foreign", kid="rsa", header={"jwk": foreign_jwk}),
    "unknown kid": sign(kid="unknown"), "kid of a key of another type": sign("RS256", "rsa", kid="p256"),
    "not the alg of the key": sign("PS256", "only-rs256"),
    "crit": sign(header={"crit": ["b64"], "b64": True}), "empty crit": sign(header={"crit": []}),
    "unknown crit": sign(header={"crit": ["x"], "x": 1}), "crit null": sign_header({"alg": "RS256", "kid": "rsa", "crit": None}),
    "kid of another type": sign_header({"alg": "RS256", "kid": 1}),
    "alg twice": sign_header(b'{"alg":"none","alg":"RS256","kid":"rsa"}'),
    "other payload": head + "." + part(base | {"sub": "root"}) + "." + signature,
    "truncated": good[:-2], "no signature": head + "." + body + ".", "two parts": head + "." + body, "four parts": good + ".x",
    "padded": good + "==", "empty": "..", "not base64": "a.b.c", "trailing bits": good[:-1] + chr(ord(good[-1]) + 1),
    "expired": sign(exp=now - 90), "no exp": sign(exp=None), "exp text": sign(exp=str(now + 300)), "exp true": sign(exp=True),
    "exp list": sign(exp=[now + 300]), "exp negative": sign(exp=-1), "exp 0": sign(exp=0),
    "nbf later": sign(nbf=now + 90), "nbf text": sign(nbf="0"), "iat later": sign(iat=now + 90), "iat text": sign(iat="x"),
    "no iss": sign(iss=None), "other iss": sign(iss=issuer + "/"), "iss list": sign(iss=[issuer]), "iss case": sign(iss=issuer.upper()),
    "no aud": sign(aud=None), "other aud": sign(aud="order"), "aud object": sign(aud={"orders": 1}), "aud empty": sign(aud=[]),
    "scope missing": sign(scope="a c"), "scope list": sign(scope=["a", "b"]), "no scope": sign(scope=None),
    "groups text": sign(groups="x y"), "groups missing": sign(groups=["y"]),
    "subject": sign(sub="other"), "array payload": jwt.api_jws.encode(b"[]", keys["rsa"], algorithm="RS256", headers={"kid": "rsa"}),
    "claim twice": jwt.api_jws.encode(json.dumps(base)[:-1].encode() + b',"sub":"python"}', keys["rsa"], algorithm="RS256", headers={"kid": "rsa"}),
}
jwks = {"keys": [public(name) for name in keys if name != "foreign"] + [{"kty": "oct", "kid": "secret", "k": part(b"s" * 32)}]}
invalid["oct key of the set"] = hmac_token(b"s" * 32, "secret")
json.dump({"jwks": jwks, "valid": valid, "invalid": invalid}, sys.stdout)
