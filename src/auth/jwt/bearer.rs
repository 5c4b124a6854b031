use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::http_semantics::text_response;

/// The longest token that is read. Servers limit a field to about as much.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// Why a request is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no bearer token.
    NoToken,
    /// There are several `Authorization` fields.
    SeveralFields,
    /// The token is invalid.
    Token(TokenError),
    /// No key set has been fetched.
    NoKeys,
}

/// Why a token is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenError {
    /// It is too long, or not a signed token in compact form.
    Malformed,
    /// It has `crit`.
    UnknownExtension,
    /// Its algorithm is not configured.
    Algorithm,
    /// No key has its `kid` and fits its algorithm.
    UnknownKey,
    /// The signature does not fit.
    Signature,
    /// A claim is missing, of the wrong type, or has the wrong value.
    Claim(&'static str),
    /// A configured claim does not have the value.
    RequiredClaim,
}

/// Returns the token of a request.
pub(super) fn bearer_token(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let field = fields.next().ok_or(Refusal::NoToken)?;
    if fields.next().is_some() {
        return Err(Refusal::SeveralFields);
    }
    let (scheme, token) = field
        .as_bytes()
        .split_first_chunk::<7>()
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
        .ok_or(Refusal::NoToken)?;
    debug_assert_eq!(scheme.len(), "bearer ".len());
    let token = std::str::from_utf8(token.trim_ascii())
        .ok()
        .filter(|token| !token.is_empty() && token.len() <= MAX_TOKEN_BYTES);
    token.ok_or(Refusal::Token(TokenError::Malformed))
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::NoToken | Self::Token(_) => StatusCode::UNAUTHORIZED,
            Self::SeveralFields => StatusCode::BAD_REQUEST,
            Self::NoKeys => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) fn respond(self) -> Response<Bytes> {
        let (text, challenge) = match self {
            Self::NoToken => ("a bearer token is required\n", "Bearer"),
            Self::SeveralFields => (
                "the request has several Authorization fields\n",
                "Bearer error=\"invalid_request\"",
            ),
            Self::Token(_) => ("the bearer token is invalid\n", "Bearer error=\"invalid_token\""),
            Self::NoKeys => {
                let text = "tokens cannot be verified at the moment\n";
                return text_response(self.status(), text, Some(Duration::from_secs(1)));
            }
        };
        let mut response = text_response(self.status(), text, None);
        let challenge = HeaderValue::from_static(challenge);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        response
    }

    /// Logs the refusal, without anything of the token.
    pub(super) fn log(self) {
        let status = self.status().as_u16();
        tracing::debug!(status, reason = ?self, "token refused");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(fields: &[&str]) -> Result<String, Refusal> {
        let value = |text: &&str| HeaderValue::from_bytes(text.as_bytes()).unwrap();
        let headers: HeaderMap =
            fields.iter().map(|text| (header::AUTHORIZATION, value(text))).collect();
        bearer_token(&headers).map(str::to_owned)
    }

    #[test]
    fn one_field_with_the_scheme_bearer_has_a_token() {
        for field in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c "] {
            assert_eq!(token(&[field]), Ok("a.b.c".to_owned()), "{field}");
        }
        for field in ["", "Basic YTpi", "Bearer", "Bearera.b.c", "a.b.c"] {
            assert_eq!(token(&[field]), Err(Refusal::NoToken), "{field}");
        }
        assert_eq!(token(&[]), Err(Refusal::NoToken));
        assert_eq!(token(&["Bearer a", "Bearer a"]), Err(Refusal::SeveralFields));
        let malformed = Err(Refusal::Token(TokenError::Malformed));
        let long = format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES + 1));
        for field in ["Bearer  ", "Bearer \u{fe}", &long] {
            let expected =
                if field.contains('\u{fe}') { Ok("\u{fe}".to_owned()) } else { malformed.clone() };
            assert_eq!(token(&[field]), expected, "{field}");
        }
    }

    #[test]
    fn answers_have_a_challenge() {
        let challenge = |refusal: Refusal| {
            let response = refusal.respond();
            let challenge = response.headers().get(header::WWW_AUTHENTICATE);
            (response.status().as_u16(), challenge.map(|value| value.to_str().unwrap().to_owned()))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(challenge(Refusal::NoToken), (401, some("Bearer")));
        assert_eq!(
            challenge(Refusal::Token(TokenError::Signature)),
            (401, some("Bearer error=\"invalid_token\""))
        );
        assert_eq!(
            challenge(Refusal::SeveralFields),
            (400, some("Bearer error=\"invalid_request\""))
        );
        assert_eq!(challenge(Refusal::NoKeys), (503, None));
        assert_eq!(Refusal::NoKeys.respond().headers()[header::RETRY_AFTER], "1");
    }
}
