use bytes::Bytes;
use http::{Response, header, request};
use indexmap::IndexMap;
use serde::Serialize;

use super::{
    event_json::{PairsAsObject, event, parameters},
    json_response::{HeaderMember, JsonResponse},
    request_fields::RequestFields,
};
use crate::{
    header_fields::has_token,
    lambda::{EventFormat, InvalidResponse, UnsupportedRequest},
};

/// The event that an Application Load Balancer sends to a function in a target group.
///
/// Names of headers are in lower case. If a header or query parameter is repeated, the last value
/// counts, unless [multiple values](Self::multi_value) are on. Path and query stay percent-encoded.
/// The body is passed on unchanged if its type is text, JSON, JavaScript or XML and it has no
/// content encoding, and in base64 otherwise.
///
/// Header fields of the connection, and those that `Connection` names, are not part of the event;
/// neither are `Expect` and `Trailer`. `host` is the one host of the request: the authority of the
/// request target (`:authority` in HTTP/2), otherwise the `Host` field. Cookies that an HTTP/2
/// client splits are joined.
///
/// The response must have `statusCode`, and may have `headers` (or `multiValueHeaders`), `body` and
/// `isBase64Encoded`. It may have at most 1 MiB. Header fields of the connection, and
/// `content-length`, are ignored.
///
/// A load balancer adds `X-Forwarded-For`, `-Proto` and `-Port`, and `X-Amzn-Trace-Id`. This type
/// does not, and passes on what the request has, even if the client invented it: set these fields
/// in a layer that knows the peer.
#[derive(Clone, Debug)]
#[must_use]
pub struct AlbEvent {
    target_group: Box<str>,
    multi_value: bool,
}

/// The largest request body, and the largest response, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

impl AlbEvent {
    /// Creates events of the target group with this ARN. The event contains the ARN, which most
    /// functions ignore.
    pub fn new(target_group_arn: impl Into<Box<str>>) -> Self {
        Self { target_group: target_group_arn.into(), multi_value: false }
    }

    /// Passes on all values of headers and query parameters, under `multiValueHeaders` and
    /// `multiValueQueryStringParameters`, and reads `multiValueHeaders` from the response: the
    /// target group's attribute `lambda.multi_value_headers.enabled`. Default off.
    pub fn multi_value(mut self) -> Self {
        self.multi_value = true;
        self
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a, H: Serialize, M: Serialize> {
    request_context: RequestContext<'a>,
    http_method: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_string_parameters: Option<IndexMap<&'a str, &'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<H>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_query_string_parameters: Option<IndexMap<&'a str, Vec<&'a str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<M>,
}

#[derive(Serialize)]
struct RequestContext<'a> {
    elb: ElbContext<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ElbContext<'a> {
    target_group_arn: &'a str,
}

impl EventFormat for AlbEvent {
    fn encode(&self, head: &request::Parts, body: &[u8]) -> Result<Bytes, UnsupportedRequest> {
        // A client may offer WebSocket among other protocols.
        if has_token(&head.headers, &header::UPGRADE, "websocket") {
            return Err(UnsupportedRequest::Upgrade);
        }
        let (fields, multi) = (RequestFields::of(head)?, self.multi_value);
        let queries = || {
            let mut queries = IndexMap::<_, Vec<_>>::new();
            for (name, value) in parameters(head.uri.query()) {
                queries.entry(name).or_default().push(value);
            }
            queries
        };
        let event_head = Head {
            request_context: RequestContext {
                elb: ElbContext { target_group_arn: &self.target_group },
            },
            http_method: head.method.as_str(),
            path: head.uri.path(),
            query_string_parameters: (!multi).then(|| parameters(head.uri.query()).collect()),
            headers: (!multi).then_some(PairsAsObject(|| {
                fields.iter().map(|(name, values)| (name, values.last()))
            })),
            multi_value_query_string_parameters: multi.then(queries),
            multi_value_headers: multi.then_some(PairsAsObject(|| {
                fields.iter().map(|(name, values)| (name, values.all()))
            })),
        };
        Ok(event(&event_head, &head.headers, Some(body)))
    }

    fn decode(&self, response: Bytes) -> Result<Response<Bytes>, InvalidResponse> {
        if response.len() > MAX_BYTES {
            return Err(InvalidResponse::TooLarge { bytes: response.len(), limit: MAX_BYTES });
        }
        let headers = if self.multi_value { HeaderMember::Multi } else { HeaderMember::Single };
        JsonResponse::parse(&response, headers)?.into_response(&response)
    }

    fn max_body(&self) -> usize {
        MAX_BYTES
    }
}
