use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, Version, header, request};
use indexmap::IndexMap;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    event_json::{PairsAsObject, event, form_decoded, parameters, percent_decoded, text, uuid},
    json_response::{HeaderMember, JsonResponse, whole},
    request_fields::{RequestFields, Values},
};
use crate::lambda::{EventFormat, InvalidResponse, UnsupportedRequest};

/// The event that a function URL sends: payload format 2.0 of API Gateway's HTTP APIs.
///
/// Values of a repeated header or query parameter are joined by commas. The path and the query are
/// included as received (`rawPath`, `rawQueryString`) and decoded (`requestContext.http.path`,
/// `queryStringParameters`, where `+` is a space). Cookies are in the `cookie` header and in their
/// own member. A request without a body has no `body` member.
///
/// Header fields of the connection, and those that `Connection` names, are not part of the event;
/// neither are `Expect` and `Trailer`. `host` is the one host of the request: the authority of the
/// request target (`:authority` in HTTP/2), otherwise the `Host` field.
///
/// `sourceIp` is the last address of `X-Forwarded-For`, without its port, if there is one. **A
/// client can forge it** unless a layer in front sets or appends the address of the peer.
///
/// The response may have `statusCode`, `headers`, `multiValueHeaders`, `cookies`, `body` and
/// `isBase64Encoded`. A header in `multiValueHeaders` replaces that of the same name in `headers`.
/// Header fields of the connection, and `content-length`, are ignored. A response without
/// `statusCode` is itself the body, of type JSON with status 200; the body of a JSON string is its
/// text, without quotes and escapes.
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
    cookies: Vec<Cow<'a, str>>,
    headers: Headers,
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    query_string_parameters: IndexMap<Cow<'a, str>, String>,
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
    path: Cow<'a, str>,
    protocol: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cow<'a, str>>,
}

const ROUTE: &str = "$default";

impl EventFormat for UrlEvent {
    fn encode(&self, head: &request::Parts, body: &[u8]) -> Result<Bytes, UnsupportedRequest> {
        let fields = RequestFields::of(head)?;
        let mut query = IndexMap::<_, String>::new();
        for (name, value) in parameters(head.uri.query()) {
            let value = form_decoded(value);
            let more = |all: &mut String| {
                all.push(',');
                all.push_str(&value);
            };
            let entry = query.entry(form_decoded(name));
            entry.and_modify(more).or_insert_with(|| value.clone().into_owned());
        }
        let cookie = fields.values(&header::COOKIE).map(Values::joined);
        let user_agent = fields.values(&header::USER_AGENT);
        let now = Timestamp::now();
        let event_head = Head {
            version: "2.0",
            route_key: ROUTE,
            raw_path: head.uri.path(),
            raw_query_string: head.uri.query().unwrap_or_default(),
            cookies: cookies(cookie.as_deref()).map(Cow::Borrowed).collect(),
            headers: PairsAsObject(|| fields.iter().map(|(name, values)| (name, values.joined()))),
            query_string_parameters: query,
            request_context: RequestContext {
                account_id: &self.account,
                api_id: &self.api,
                domain_name: &self.domain,
                domain_prefix: &self.api,
                http: HttpContext {
                    method: head.method.as_str(),
                    path: percent_decoded(head.uri.path()),
                    protocol: protocol(head.version),
                    source_ip: source_ip(&head.headers),
                    user_agent: user_agent.map(Values::joined),
                },
                request_id: uuid(),
                route_key: ROUTE,
                stage: ROUTE,
                time: access_log_time(now),
                time_epoch: now.as_millisecond(),
            },
        };
        Ok(event(&event_head, &head.headers, (!body.is_empty()).then_some(body)))
    }

    fn decode(&self, response: Bytes) -> Result<Response<Bytes>, InvalidResponse> {
        match JsonResponse::parse(&response, HeaderMember::All) {
            Ok(parsed) => parsed.into_response(&response),
            Err(InvalidResponse::NoStatus) => {
                let mut response = Response::new(whole(response)?);
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(header::CONTENT_TYPE, json);
                Ok(response)
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

fn cookies(field: Option<&str>) -> impl Iterator<Item = &str> {
    field.into_iter().flat_map(|field| field.split(';')).map(str::trim).filter(|it| !it.is_empty())
}

/// Returns the address that the server in front has appended. Text that is not an address, such as
/// `unknown`, is no source.
fn source_ip(headers: &HeaderMap) -> Option<IpAddr> {
    let forwarded = headers.get_all("x-forwarded-for").iter().next_back().map(text)?;
    let last = forwarded.rsplit(',').map(str::trim).find(|hop| !hop.is_empty())?;
    let with_port = last.parse().map(|address: SocketAddr| address.ip());
    let bracketed = || last.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    with_port.or_else(|_| bracketed().unwrap_or(last).parse()).ok()
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
    fn the_source_is_the_last_address() {
        for (fields, expected) in [
            (&["192.0.2.1, 192.0.2.7"][..], "192.0.2.7"),
            (&["192.0.2.1", "192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.7,, "], "192.0.2.7"),
            (&["192.0.2.7:4711"], "192.0.2.7"),
            (&["2001:DB8::7"], "2001:db8::7"),
            (&["[2001:db8::7]"], "2001:db8::7"),
            (&["[2001:db8::7]:4711"], "2001:db8::7"),
            (&["192.0.2.1, unknown"], ""),
            (&["192.0.2.1, fe80::1%eth0"], ""),
            (&["192.0.2.1, \u{ff}"], ""),
            (&[""], ""),
            (&[], ""),
        ] {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append("x-forwarded-for", field.parse().unwrap());
            }
            let source = source_ip(&headers).map(|ip| ip.to_string()).unwrap_or_default();
            assert_eq!(source, expected, "{fields:?}");
        }
    }

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
