use std::{str, time::SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use http::{
    HeaderName, HeaderValue, Request,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};

use super::SignError;
use crate::BoxError;

/// What a signature is valid for.
pub(super) struct Scope<'a> {
    /// `None` for the region in the host.
    pub(super) region: Option<&'a str>,
    pub(super) service: &'a str,
    pub(super) time: SystemTime,
}

/// The headers, beside `Authorization`, of an earlier signature.
const OLD_SIGNATURE: [&str; 2] = ["x-amz-date", "x-amz-security-token"];

/// Adds the signature of `request` with `body` to its headers.
pub(super) fn sign_request<B>(
    request: &mut Request<B>,
    body: &[u8],
    credentials: &Credentials,
    scope: &Scope<'_>,
) -> Result<(), SignError> {
    request.headers_mut().remove(AUTHORIZATION);
    OLD_SIGNATURE.iter().for_each(|name| _ = request.headers_mut().remove(*name));
    let host = host(request)?;
    let region = match scope.region {
        Some(region) => region,
        None => region_of(&host).ok_or_else(|| SignError::NoRegion { host: host.clone() })?,
    };
    let headers = request
        .headers()
        .iter()
        .filter(|(name, _)| **name == CONTENT_TYPE || name.as_str().starts_with("x-amz-"));
    let headers =
        headers.map(|(name, value)| Ok((name.as_str(), str::from_utf8(value.as_bytes())?)));
    let headers: Result<Vec<_>, str::Utf8Error> = headers.collect();
    let headers = headers.map_err(invalid)?.into_iter().chain([(HOST.as_str(), &*host)]);

    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(scope.service)
        .time(scope.time)
        .settings(SigningSettings::default())
        .build()
        .map_err(invalid)?
        .into();
    let (method, uri) = (request.method().as_str(), request.uri().to_string());
    let signable = SignableRequest::new(method, uri, headers, SignableBody::Bytes(body));
    let signed = sign(signable.map_err(invalid)?, &params).map_err(invalid)?;
    let (headers, _) = signed.into_parts().0.into_parts();
    for header in headers {
        let mut value = HeaderValue::from_str(header.value()).map_err(invalid)?;
        value.set_sensitive(header.sensitive());
        let name = HeaderName::try_from(header.name()).map_err(invalid)?;
        request.headers_mut().insert(name, value);
    }
    Ok(())
}

fn invalid(cause: impl Into<BoxError>) -> SignError {
    SignError::Invalid(cause.into())
}

/// Returns the host as the client will send it: without the default port of the scheme.
fn host<B>(request: &Request<B>) -> Result<Box<str>, SignError> {
    if let Some(host) = request.headers().get(HOST) {
        return Ok(host.to_str().map_err(invalid)?.into());
    }
    let uri = request.uri();
    let host = uri.host().ok_or(SignError::NoHost)?;
    let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    Ok(match uri.port_u16().filter(|&port| port != default_port) {
        Some(port) => format!("{host}:{port}").into(),
        None => host.into(),
    })
}

/// Returns the region in the host of a function URL, such as
/// `abcdefgh.lambda-url.eu-west-1.on.aws`.
fn region_of(host: &str) -> Option<&str> {
    let (_, after) = host.split_once(".lambda-url.")?;
    let (region, domain) = after.split_once('.')?;
    (!region.is_empty() && domain.starts_with("on.")).then_some(region)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// The credentials, scope and time of AWS's test suite.
    fn signed(mut request: Request<&'static str>, token: Option<&str>) -> (String, Request<()>) {
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let token = token.map(str::to_owned);
        let credentials = Credentials::new("AKIDEXAMPLE", secret, token, None, "test");
        let time = UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        let scope = Scope { region: Some("us-east-1"), service: "service", time };
        let body = *request.body();
        sign_request(&mut request, body.as_bytes(), &credentials, &scope).unwrap();
        let authorization = request.headers()[AUTHORIZATION].to_str().unwrap().to_owned();
        (authorization, request.map(drop))
    }

    fn expected(headers: &str, signature: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders={headers}, Signature={signature}"
        )
    }

    /// `get-vanilla`, `get-vanilla-query-order-key-case` and `post-x-www-form-urlencoded`.
    #[test]
    fn signatures_are_those_of_the_test_suite() {
        let request = Request::get("https://example.amazonaws.com/").body("").unwrap();
        let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        let (authorization, request) = signed(request, None);
        assert_eq!(authorization, expected("host;x-amz-date", vanilla));
        assert_eq!(request.headers()["x-amz-date"], "20150830T123600Z");

        let uri = "https://example.amazonaws.com/?Param2=value2&Param1=value1";
        let ordered = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500";
        let request = Request::get(uri).header("user-agent", "test").body("").unwrap();
        assert_eq!(signed(request, None).0, expected("host;x-amz-date", ordered));

        let form = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a";
        let request = Request::post("https://example.amazonaws.com/")
            .header("content-type", "application/x-www-form-urlencoded");
        let authorization = signed(request.body("Param1=value1").unwrap(), None).0;
        assert_eq!(authorization, expected("content-type;host;x-amz-date", form));
    }

    #[test]
    fn an_old_signature_is_replaced() {
        let request = Request::get("/")
            .header("host", "example.amazonaws.com")
            .header("authorization", "Bearer of.something")
            .header("x-amz-date", "20010101T000000Z")
            .header("x-amz-security-token", "old");
        let (authorization, request) = signed(request.body("").unwrap(), None);
        let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        assert_eq!(authorization, expected("host;x-amz-date", vanilla));
        assert_eq!(request.headers().get("x-amz-security-token"), None);
    }

    #[test]
    fn a_session_token_is_signed_and_kept_from_logs() {
        let request = Request::get("https://example.amazonaws.com/").body("").unwrap();
        let (authorization, request) = signed(request, Some("token"));
        assert!(authorization.contains("SignedHeaders=host;x-amz-date;x-amz-security-token,"));
        let token = &request.headers()["x-amz-security-token"];
        assert!(token == "token" && token.is_sensitive());
    }

    #[test]
    fn an_invalid_request_is_an_error() {
        let sign = |request: http::request::Builder, token: &str| {
            let token = Some(token.to_owned());
            let credentials = Credentials::new("id", "secret", token, None, "test");
            let scope = Scope { region: None, service: "lambda", time: UNIX_EPOCH };
            sign_request(&mut request.body(()).unwrap(), b"", &credentials, &scope)
        };
        let url = "https://abc.lambda-url.eu-west-1.on.aws/";
        assert!(sign(Request::get(url), "token").is_ok());
        assert!(matches!(sign(Request::get("/"), "token"), Err(SignError::NoHost)));
        let other = sign(Request::get("https://example.com/"), "token");
        assert!(matches!(other, Err(SignError::NoRegion { .. })), "{other:?}");
        assert!(matches!(sign(Request::get(url), "to\nken"), Err(SignError::Invalid(_))));
        let header = HeaderValue::from_bytes(b"\xff").unwrap();
        let request = Request::get(url).header("x-amz-meta", header);
        assert!(matches!(sign(request, "token"), Err(SignError::Invalid(_))));
    }

    #[test]
    fn the_region_is_in_the_host_of_a_function_url() {
        for (host, region) in [
            ("abc.lambda-url.eu-west-1.on.aws", Some("eu-west-1")),
            ("abc.lambda-url.us-east-1.on.aws:443", Some("us-east-1")),
            ("abc.lambda-url.cn-north-1.on.amazonwebservices.com.cn", Some("cn-north-1")),
            ("abc.lambda-url.eu-west-1.example.com", None),
            ("lambda.eu-west-1.amazonaws.com", None),
            ("abc.lambda-url.", None),
        ] {
            assert_eq!(region_of(host), region, "{host}");
        }
    }
}
