use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, Version, header, request};
use indexmap::IndexMap;
use serde::Serialize;

use super::{
    event_json::{Members, event, parameters, text},
    json_response::JsonResponse,
    json_response_members::HeaderMember,
    utc::Utc,
    uuid::uuid,
};
use crate::lambda::{EventFormat, InvalidResponse, UnsupportedRequest};

/// The event that a function URL sends, which is API Gateway's for HTTP APIs: payload format 2.0.
///
/// Values of a header or query parameter that comes several times are joined by commas; cookies have
/// a member of their own. The query is there as it was written (`rawQueryString`) and taken apart.
/// `sourceIp` is the last address of `X-Forwarded-For`, if there is one.
///
/// The answer is to have `statusCode`, `headers`, `cookies`, `body` and `isBase64Encoded`. One
/// without a `statusCode` is the body itself, of type JSON and status 200. A header that
/// belongs to one connection, and `content-length`, are ignored.
#[derive(Clone, Debug)]
pub struct UrlEvent {
    account: Box<str>,
    api: Box<str>,
    domain: Box<str>,
}

const LARGEST: usize = 6 * 1024 * 1024;

impl UrlEvent {
    /// Events as from this domain, such as `abcdefgh.lambda-url.eu-west-1.on.aws`. What stands before
    /// its first dot is the id of the API.
    pub fn new(domain: impl Into<Box<str>>) -> Self {
        let domain = domain.into();
        let api = domain.split('.').next().unwrap_or_default().into();
        Self { account: "anonymous".into(), api, domain }
    }

    /// Sets the account that functions see. Default `anonymous`, as without authentication.
    #[must_use]
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
    time_epoch: u64,
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
    fn encode(&self, head: &request::Parts, body: &[Bytes]) -> Result<Bytes, UnsupportedRequest> {
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
        let now = Utc::at(SystemTime::now());
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
                time: now.to_string(),
                time_epoch: now.millis(),
            },
        };
        Ok(event(&event_head, headers, body))
    }

    fn decode(&self, answer: Bytes) -> Result<Response<Bytes>, InvalidResponse> {
        match JsonResponse::parse(&answer, HeaderMember::SingleAndCookies) {
            Ok(parsed) => parsed.into_response(&answer),
            Err(InvalidResponse::NoStatus) => {
                let mut response = Response::new(answer);
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(header::CONTENT_TYPE, json);
                Ok(response)
            }
            Err(malformed) => Err(malformed),
        }
    }

    fn max_body(&self) -> usize {
        LARGEST
    }
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
