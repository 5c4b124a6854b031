use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::ConfigError;

/// A response that the rule gives by itself.
///
/// ```
/// use http::StatusCode;
/// use tower_lb::rules::FixedResponse;
///
/// let maintenance = FixedResponse::builder(StatusCode::SERVICE_UNAVAILABLE)
///     .content_type("text/html")
///     .body("<h1>We will be back soon.</h1>")
///     .build()?;
/// # Ok::<_, tower_lb::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedResponse {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    body: Bytes,
}

impl FixedResponse {
    /// Returns a builder of a response with this status, which is 2xx, 4xx or 5xx.
    #[must_use]
    pub fn builder(status: StatusCode) -> FixedResponseBuilder {
        FixedResponseBuilder { status, content_type: None, body: Bytes::new() }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn response(&self) -> Response<Bytes> {
        let mut response = Response::new(self.body.clone());
        *response.status_mut() = self.status;
        if let Some(content_type) = &self.content_type {
            response.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
        }
        response
    }
}

/// Configures a [`FixedResponse`].
#[derive(Clone, Debug)]
pub struct FixedResponseBuilder {
    status: StatusCode,
    content_type: Option<String>,
    body: Bytes,
}

/// The largest body. What is larger is better served by a service.
const MAX_BODY_BYTES: usize = 64 << 10;

impl FixedResponseBuilder {
    setters! {
        /// Sets the media type. Default `text/plain` if there is a body.
        pub fn content_type(media_type: impl Into<String>) => content_type = Some(media_type.into());
        /// Sets the body, of at most 64 KiB. Default empty.
        pub fn body(body: impl Into<Bytes>) => body = body.into();
    }

    /// Returns the response.
    ///
    /// # Errors
    ///
    /// If the status is not 2xx, 4xx or 5xx, if it has no body (204 or 205) but one is set, or if
    /// the media type or the body is invalid.
    pub fn build(self) -> Result<FixedResponse, ConfigError> {
        let Self { status, content_type, body } = self;
        let is_final = status.is_success() || status.is_client_error() || status.is_server_error();
        let expected = "a status from 200 to 299 or from 400 to 599";
        ConfigError::unless(is_final, "status", status.as_u16(), expected)?;
        let has_no_body = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
        if has_no_body && !body.is_empty() {
            let expected = format!("none, as status {} has no body", status.as_u16());
            return Err(ConfigError::new("body", expected));
        }
        let bytes = body.len();
        ConfigError::unless(bytes <= MAX_BODY_BYTES, "body", bytes, "at most 65536 bytes")?;
        let content_type = match content_type {
            Some(text) => Some(media_type(&text)?),
            None => (!body.is_empty()).then(|| HeaderValue::from_static("text/plain")),
        };
        Ok(FixedResponse { status, content_type, body })
    }
}

fn media_type(text: &str) -> Result<HeaderValue, ConfigError> {
    let invalid =
        || ConfigError::new("content_type", "a media type such as text/html").with_value(text);
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    let is_token = |text: &str| !text.is_empty() && text.bytes().all(is_token_byte);
    let is_type =
        essence.split_once('/').is_some_and(|(one, other)| is_token(one) && is_token(other));
    if !is_type || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(invalid());
    }
    HeaderValue::from_str(text).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_response_is_checked() {
        let build = |status: u16, content_type: Option<&str>, body: &'static str| {
            let mut builder =
                FixedResponse::builder(StatusCode::from_u16(status).unwrap()).body(body);
            if let Some(content_type) = content_type {
                builder = builder.content_type(content_type);
            }
            builder.build()
        };
        let error = |status, content_type, body| {
            build(status, content_type, body).unwrap_err().field().to_owned()
        };
        assert_eq!(build(404, None, "x").unwrap().content_type.unwrap(), "text/plain");
        assert_eq!(build(204, None, "").unwrap().content_type, None);
        assert!(build(200, Some("text/html; charset=utf-8"), "x").is_ok());
        for status in [100, 101, 301, 304, 600] {
            assert_eq!(error(status, None, ""), "status");
        }
        assert_eq!(error(204, None, "x"), "body");
        for content_type in ["", "html", "text/", "text/html\r\nx: y", "a b/c", "text/html;\u{e4}"]
        {
            assert_eq!(error(200, Some(content_type), "x"), "content_type", "{content_type}");
        }
    }
}
