use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, Version, header, request};
use indexmap::IndexMap;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    event_json::{Members, event, parameters, text, uuid},
    json_response::{HeaderMember, JsonResponse},
};
use crate::lambda::{EventFormat, InvalidResponse, UnsupportedRequest};

/// The event that a function URL sends: payload format 2.0 of API Gateway's HTTP APIs.
///
/// Values of a repeated header or query parameter are joined by commas; cookies have their own
/// member. The query is included both as written (`rawQueryString`) and split. `sourceIp` is the
/// last address of `X-Forwarded-For`, if there is one.
///
/// The response may have `statusCode`, `headers`, `cookies`, `body` and `isBase64Encoded`. A
/// response without `statusCode` is itself the body, of type JSON with status 200. Headers of one
/// connection, and `content-length`, are ignored.
#[derive(Clone, Debug)]
#[must_use]
pub struct UrlEvent {
    account: Box<str>,
    api: Box<str>,
    domain: Box<str>,
}

/// The largest request body, in bytes.
const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;

impl UrlEvent {
    /// Creates events of this domain, such as `abcdefgh.lambda-url.eu-west-1.on.aws`. The part
    /// before its first dot is the id of the API.
    pub fn new(domain: impl Into<Box<str>>) -> Self {
        let domain = domain.into();
        let api = domain.split('.').next().unwrap_or_default().into();
        Self { account: "anonymous".into(), api, domain }
    }

    /// Sets the account id in events. Default `anonymous`, as without authentication.
    pub fn account(mut self, account: impl Into<Box<str>>) -> Self {
        self.account = account.into();
        self
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a, Headers: Serialize> {
    version: &'a str,
    route_key: &'a str,
    raw_path: &'a str,
    raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<String>,
    headers: Headers,
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    query_string_parameters: IndexMap<&'a str, String>,
    request_context: RequestContext<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    account_id: &'a str,
    api_id: &'a str,
    domain_name: &'a str,
    domain_prefix: &'a str,
    http: HttpContext<'a>,
    request_id: String,
    route_key: &'a str,
    stage: &'a str,
    time: String,
    time_epoch: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HttpContext<'a> {
    method: &'a str,
    path: &'a str,
    protocol: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
}

const ROUTE: &str = "$default";

impl EventFormat for UrlEvent {
    fn encode(&self, head: &request::Parts, body: &[u8]) -> Result<Bytes, UnsupportedRequest> {
        let headers = &head.headers;
        let mut query = IndexMap::<_, String>::new();
        for (name, value) in parameters(head.uri.query()) {
            let more = |all: &mut String| {
                all.push(',');
                all.push_str(value);
            };
            query.entry(name).and_modify(more).or_insert_with(|| value.to_owned());
        }
        let names = || headers.keys().filter(|name| **name != header::COOKIE);
        let now = Timestamp::now();
        let event_head = Head {
            version: "2.0",
            route_key: ROUTE,
            raw_path: head.uri.path(),
            raw_query_string: head.uri.query().unwrap_or_default(),
            cookies: cookies(headers),
            headers: Members(|| names().map(|name| (name.as_str(), joined(headers, name)))),
            query_string_parameters: query,
            request_context: RequestContext {
                account_id: &self.account,
                api_id: &self.api,
                domain_name: &self.domain,
                domain_prefix: &self.api,
                http: HttpContext {
                    method: head.method.as_str(),
                    path: head.uri.path(),
                    protocol: protocol(head.version),
                    source_ip: source_ip(headers),
                    user_agent: headers.get(header::USER_AGENT).map(text),
                },
                request_id: uuid(),
                route_key: ROUTE,
                stage: ROUTE,
                time: access_log_time(now),
                time_epoch: now.as_millisecond(),
            },
        };
        Ok(event(&event_head, headers, body))
    }

    fn decode(&self, response: Bytes) -> Result<Response<Bytes>, InvalidResponse> {
        match JsonResponse::parse(&response, HeaderMember::SingleAndCookies) {
            Ok(parsed) => parsed.into_response(&response),
            Err(InvalidResponse::NoStatus) => {
                let mut whole = Response::new(response);
                let json = HeaderValue::from_static("application/json");
                whole.headers_mut().insert(header::CONTENT_TYPE, json);
                Ok(whole)
            }
            Err(error) => Err(error),
        }
    }

    fn max_body(&self) -> usize {
        MAX_BODY_BYTES
    }
}

/// Writes a time as API Gateway does: `12/Mar/2020:19:03:58 +0000`.
fn access_log_time(time: Timestamp) -> String {
    time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string()
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    let lines: Vec<_> = headers.get_all(header::COOKIE).iter().map(text).collect();
    let cookies = lines.iter().flat_map(|line| line.split(';')).map(str::trim);
    cookies.filter(|cookie| !cookie.is_empty()).map(str::to_owned).collect()
}

fn joined(headers: &HeaderMap, name: &header::HeaderName) -> String {
    let values: Vec<_> = headers.get_all(name).iter().map(text).collect();
    values.join(",")
}

fn source_ip(headers: &HeaderMap) -> Option<String> {
    let forwarded = headers.get_all("x-forwarded-for").iter().next_back().map(text)?;
    forwarded.rsplit(',').map(str::trim).find(|ip| !ip.is_empty()).map(str::to_owned)
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_in_access_logs() {
        for (seconds, expected) in [
            (0, "01/Jan/1970:00:00:00 +0000"),
            (1_584_039_838, "12/Mar/2020:19:03:58 +0000"),
            (951_782_400, "29/Feb/2000:00:00:00 +0000"),
        ] {
            let time = Timestamp::from_second(seconds).unwrap();
            assert_eq!(access_log_time(time), expected);
        }
    }
}
