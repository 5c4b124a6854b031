use http::{HeaderValue, Method, Response, StatusCode, Version, header, request::Parts};
use hyper::{ext::Protocol, upgrade::OnUpgrade};

use super::refusal::Refusal;
use crate::{
    header_fields::{elements, has_token},
    http::websocket,
};

/// A connection that the client wants to use for another protocol.
#[derive(Debug)]
pub(super) struct Upgrade {
    form: Form,
    client: OnUpgrade,
}

/// How a client asks for another protocol.
#[derive(Debug)]
enum Form {
    /// `Upgrade` on HTTP/1.1 (RFC 9110, 7.8).
    Header { protocol: HeaderValue },
    /// `CONNECT` with `:protocol` on HTTP/2 (RFC 8441).
    ///
    /// HTTP/2 has no `Sec-WebSocket-Key` (RFC 8441, 5.1), and HTTP/1.1 demands one. `key` is the
    /// one that the proxy adds.
    Extended { protocol: HeaderValue, key: Option<String> },
    /// `CONNECT` (RFC 9110, 9.3.6).
    Connect,
}

/// What a client may ask for.
#[derive(Clone, Debug)]
pub(super) struct UpgradePolicy {
    /// The protocols, in lower case.
    pub(super) protocols: Vec<String>,
    pub(super) connect: bool,
}

impl UpgradePolicy {
    fn allows(&self, protocol: &[u8]) -> bool {
        self.protocols.iter().any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(protocol))
    }

    /// Returns the upgrade that a request asks for.
    ///
    /// Without one, the request is served plainly: an unknown `Upgrade`, such as `h2c`, is ignored.
    /// `policy` is `None` if the proxy runs no tunnels.
    pub(super) fn upgrade_of(
        policy: Option<&Self>,
        head: &mut Parts,
        has_body: bool,
    ) -> Result<Option<Upgrade>, Refusal> {
        let form = if let Some(protocol) = head.extensions.remove::<Protocol>() {
            policy
                .filter(|policy| policy.allows(protocol.as_ref()))
                .and_then(|_| HeaderValue::from_str(protocol.as_str()).ok())
                .map(|protocol| {
                    let is_websocket = protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
                    Form::Extended { protocol, key: is_websocket.then(websocket::new_key) }
                })
                .ok_or(Refusal::NotImplemented("unknown protocol"))?
        } else if head.method == Method::CONNECT {
            // An endpoint could take the body for the first bytes of the tunnel.
            if has_body {
                return Err(Refusal::Invalid("CONNECT with a body"));
            }
            policy
                .filter(|policy| policy.connect)
                .map(|_| Form::Connect)
                .ok_or(Refusal::ConnectNotAllowed)?
        } else {
            // A body would have to be read before the protocols are switched. No client sends one.
            let offered = policy.filter(|_| !has_body).and_then(|policy| policy.offered(head));
            let Some(protocol) = offered else { return Ok(None) };
            Form::Header { protocol }
        };
        let client = head.extensions.remove::<OnUpgrade>();
        let client = client.ok_or(Refusal::NotImplemented("the server cannot switch protocols"))?;
        Ok(Some(Upgrade { form, client }))
    }

    /// Returns the first allowed protocol in `Upgrade`.
    fn offered(&self, head: &Parts) -> Option<HeaderValue> {
        if head.version != Version::HTTP_11
            || !has_token(&head.headers, &header::CONNECTION, "upgrade")
        {
            return None;
        }
        let mut offered = elements(&head.headers, &header::UPGRADE);
        HeaderValue::from_bytes(offered.find(|protocol| self.allows(protocol))?).ok()
    }
}

impl Upgrade {
    /// Writes the request for the endpoint, in the form of HTTP/1.1, after the fields of the
    /// client's connection have been removed.
    pub(super) fn ask(&self, head: &mut Parts) {
        let protocol = match &self.form {
            Form::Header { protocol } => protocol,
            Form::Extended { protocol, key } => {
                head.method = Method::GET;
                // Base64 is always a valid value.
                if let Some(Ok(key)) = key.as_deref().map(HeaderValue::from_str) {
                    head.headers.insert(header::SEC_WEBSOCKET_KEY, key);
                }
                protocol
            }
            Form::Connect => return,
        };
        head.headers.insert(header::UPGRADE, protocol.clone());
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }

    /// Returns whether the endpoint has agreed, and gives the response the form of the client's
    /// connection. `protocol` is the `Upgrade` of the response, whose fields of the endpoint's
    /// connection have been removed.
    pub(super) fn is_accepted<B>(
        &self,
        response: &mut Response<B>,
        protocol: Option<&HeaderValue>,
    ) -> Result<bool, Refusal> {
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let succeeded = response.status().is_success();
        let is_right = |wanted: &HeaderValue| {
            protocol.is_some_and(|one| one.as_bytes().eq_ignore_ascii_case(wanted.as_bytes()))
        };
        match &self.form {
            Form::Header { protocol: wanted } | Form::Extended { protocol: wanted, .. }
                if switched && !is_right(wanted) =>
            {
                Err(Refusal::BadGateway("the endpoint switched to another protocol"))
            }
            Form::Header { protocol } if switched => {
                let headers = response.headers_mut();
                headers.insert(header::UPGRADE, protocol.clone());
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                Ok(true)
            }
            Form::Extended { key, .. } if switched => {
                let accept = response.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT);
                // The client has no key, so the proxy checks in its place (RFC 6455, 4.1): an
                // endpoint that repeats what it gets is no WebSocket.
                let expected = key.as_deref().map(|key| websocket::accept(key.as_bytes()));
                if expected.is_some_and(|expected| accept.is_none_or(|found| found != expected)) {
                    return Err(Refusal::BadGateway("Sec-WebSocket-Accept is wrong"));
                }
                *response.status_mut() = StatusCode::OK;
                Ok(true)
            }
            // The client would take the success for its tunnel.
            Form::Extended { .. } if succeeded => {
                Err(Refusal::BadGateway("the endpoint did not switch protocols"))
            }
            Form::Connect if succeeded => {
                response.headers_mut().remove(header::CONTENT_LENGTH);
                Ok(true)
            }
            Form::Connect if switched => {
                Err(Refusal::BadGateway("the endpoint switched protocols at CONNECT"))
            }
            Form::Header { .. } | Form::Extended { .. } | Form::Connect => Ok(false),
        }
    }

    /// Returns whether the endpoint is a proxy to the client, which may ask for its password.
    pub(super) fn is_connect(&self) -> bool {
        matches!(self.form, Form::Connect)
    }

    pub(super) fn into_client(self) -> OnUpgrade {
        self.client
    }
}
