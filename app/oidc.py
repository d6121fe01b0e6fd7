"""Sign-in at an OpenID Connect provider: the authorization code flow with PKCE, by authlib.

Source: OpenID Connect Core 1.0, sections 3.1.2 and 3.1.3; Discovery 1.0; RFC 7636; RFC 9207.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from authlib.common.errors import AuthlibBaseError
from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from requests import RequestException

from app.config import Settings

TIMEOUT_SECONDS = 10
LEEWAY_SECONDS = 60  # by which clocks may differ
# Signatures that only the provider can make: not `none`, and not one by a secret that we know, too.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class OidcError(Exception):
    """Nobody is signed in: `code` says why, the message is for the log and holds no secret."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code


class Begun(NamedTuple):
    """A sign-in on its way: where the browser goes, and what it is held against when it comes back."""

    url: str
    state: str
    nonce: str
    verifier: str


class Identity(NamedTuple):
    """Who signed in there. `subject` is theirs for ever at this issuer; the address may pass to somebody else."""

    issuer: str
    subject: str
    email: str
    is_verified: bool


class Provider(NamedTuple):
    """Where staff sign in, and as whom this portal asks. Raises OidcError: `unreachable`, `cancelled`, `bad_answer`."""

    issuer: str
    client_id: str
    client_secret: str
    name: str

    @classmethod
    def of(cls, settings: Settings) -> "Provider | None":
        """As configured; None without an issuer. Raises SystemExit for one that is not reached by TLS."""
        if not settings.OIDC_ISSUER:
            return None
        at = urlsplit(settings.OIDC_ISSUER)
        if at.scheme != "https" and at.hostname not in LOOPBACK:
            raise SystemExit(f"ringplan: OIDC_ISSUER={settings.OIDC_ISSUER!r} must begin with https://")
        if not settings.OIDC_CLIENT_ID:
            raise SystemExit("ringplan: OIDC_ISSUER needs OIDC_CLIENT_ID")
        return cls(settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET, settings.OIDC_NAME)

    def begin(self, return_url: str) -> Begun:
        """Where to send the browser, which comes back to `return_url`."""
        nonce, verifier = generate_token(43), generate_token(64)
        with self._client(return_url) as client:
            at = self._metadata(client)["authorization_endpoint"]
            url, state = client.create_authorization_url(at, nonce=nonce, code_verifier=verifier)
        return Begun(url, state, nonce, verifier)

    def finish(self, begun: Mapping[str, str], answer: Mapping[str, str], return_url: str) -> Identity:
        """Who came back with `answer`, the query of its address; `begun` is what `begin` gave this very browser."""
        if not begun.get("state") or answer.get("state") != begun["state"]:
            raise OidcError("unknown_state")
        if answer.get("iss", self.issuer) != self.issuer:  # RFC 9207
            raise OidcError("bad_answer", "the answer comes from another issuer")
        if "error" in answer or not answer.get("code"):
            raise OidcError("cancelled", f"the provider answers {answer.get('error', 'without a code')[:100]!r}")
        with self._client(return_url) as client:
            return self._identity(client, answer["code"], begun)

    def _client(self, return_url: str) -> Any:
        return OAuth2Session(
            self.client_id,
            self.client_secret or None,
            # A client without a secret is a public one, which PKCE alone protects.
            token_endpoint_auth_method="client_secret_basic" if self.client_secret else "none",
            scope="openid email",
            redirect_uri=return_url,
            code_challenge_method="S256",
            default_timeout=TIMEOUT_SECONDS,
        )

    def _metadata(self, client: Any) -> dict[str, Any]:
        found = self._get(client, self.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if found.get("issuer") != self.issuer:
            raise OidcError("bad_answer", f"the discovery document is of the issuer {str(found.get('issuer'))[:100]!r}")
        missing = {"authorization_endpoint", "token_endpoint", "jwks_uri"} - found.keys()
        if missing:
            raise OidcError("bad_answer", f"the discovery document has no {', '.join(sorted(missing))}")
        return found

    def _get(self, client: Any, url: str) -> dict[str, Any]:
        try:
            answer = client.get(url, withhold_token=True)
            answer.raise_for_status()
            found = answer.json()
        except RequestException as error:  # an answer that is no JSON is one of them
            raise OidcError("unreachable", f"{url}: {type(error).__name__}") from error
        if not isinstance(found, dict):
            raise OidcError("bad_answer", f"{url}: no JSON object")
        return found

    def _identity(self, client: Any, code: str, begun: Mapping[str, str]) -> Identity:
        metadata = self._metadata(client)
        try:
            token = client.fetch_token(metadata["token_endpoint"], code=code, code_verifier=begun["verifier"])
        except RequestException as error:
            raise OidcError("unreachable", f"token endpoint: {type(error).__name__}") from error
        except (AuthlibBaseError, ValueError) as error:
            raise OidcError("bad_answer", f"token endpoint: {type(error).__name__}") from error
        claims = self._claims(token, self._get(client, metadata["jwks_uri"]), begun["nonce"])
        email = claims.get("email")
        return Identity(
            self.issuer,
            str(claims["sub"]),
            email if isinstance(email, str) else "",
            claims.get("email_verified") is True or claims.get("email_verified") == "true",  # some say it as text
        )

    def _claims(self, token: Mapping[str, Any], keys: Any, nonce: str) -> Any:
        """What the ID token says, once its signature, issuer, audience, times and nonce are right."""
        try:
            read = jwt.decode(
                str(token["id_token"]),
                KeySet.import_key_set(keys),
                registry=JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False),
            )
            claims = CodeIDToken(
                read.claims,
                read.header,
                {
                    "iss": {"essential": True, "value": self.issuer},
                    "aud": {"essential": True, "value": self.client_id},
                    "nonce": {"essential": True, "value": nonce},
                    "sub": {"essential": True},
                },
                {"client_id": self.client_id, "nonce": nonce, "access_token": token.get("access_token")},
            )
            claims.validate(leeway=LEEWAY_SECONDS)
        except (JoseError, AuthlibBaseError, KeyError, ValueError, TypeError) as error:
            raise OidcError("bad_answer", f"ID token: {type(error).__name__}: {str(error)[:200]}") from error
        return claims
