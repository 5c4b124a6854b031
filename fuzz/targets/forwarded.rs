//! The fields that tell an endpoint about the client, and the other fields that a proxy changes.

#![no_main]

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version, header};
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;
use tower::{Layer, ServiceExt, service_fn};
use tower_lb::http::{ClientConnection, ForwardedFields, ProxyLayer, RequestBody};

type Body = Full<Bytes>;

const MODES: [ForwardedFields; 4] = [
    ForwardedFields::Append,
    ForwardedFields::Replace,
    ForwardedFields::Remove,
    ForwardedFields::Keep,
];
const PEER: &str = "192.0.2.7";

fuzz_target!(|bytes: &[u8]| {
    // Two bytes of settings, then lines: the target, and fields.
    let Some((&[settings, version], text)) = bytes.split_first_chunk() else { return };
    let mut lines = text.split(|&byte| byte == b'\n');
    let Some(request) = request(&mut lines, version) else { return };
    let mode = MODES[usize::from(settings & 3)];
    let is_trusted = settings & 4 != 0;
    let layer = ProxyLayer::builder()
        .forwarded_fields(mode)
        .write_forwarded(settings & 8 != 0)
        .trusted_networks(is_trusted.then(|| "192.0.2.0/24".parse().expect("a network")))
        .build()
        .expect("the settings are valid");
    let inner = service_fn(|request: Request<RequestBody<Body>>| async move {
        let mut response = Response::new(Body::default());
        response.extensions_mut().insert(Seen(request.into_parts().0.headers));
        Ok::<_, Infallible>(response)
    });
    let response = layer.layer(inner).oneshot(request).now_or_never();
    let response = response.expect("nothing waits").expect("nothing fails");
    let Some(Seen(seen)) = response.extensions().get() else {
        assert!(response.status().is_client_error() || response.status().is_server_error());
        return;
    };
    check(seen, mode, is_trusted);
});

#[derive(Clone)]
struct Seen(HeaderMap);

fn request<'a>(lines: &mut impl Iterator<Item = &'a [u8]>, version: u8) -> Option<Request<Body>> {
    let mut request = Request::new(Body::default());
    *request.method_mut() = if version & 4 == 0 { Method::GET } else { Method::POST };
    *request.version_mut() =
        [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2][usize::from(version % 3)];
    *request.uri_mut() = lines.next()?.try_into().ok()?;
    for line in lines {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        request.headers_mut().append(name, value);
    }
    let [peer, local] = [(PEER, 5000), ("192.0.2.9", 8080)]
        .map(|(ip, port)| SocketAddr::new(ip.parse().expect("an address"), port));
    request.extensions_mut().insert(ClientConnection::new(peer, local));
    Some(request)
}

fn check(seen: &HeaderMap, mode: ForwardedFields, is_trusted: bool) {
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
        assert!(!seen.contains_key(name), "{seen:?}");
    }
    assert!(!seen.contains_key("keep-alive") && !seen.contains_key("proxy-connection"));
    assert!(seen.get_all(header::HOST).iter().count() <= 1, "{seen:?}");
    let all = |name: &str| {
        let values = seen.get_all(name).iter().map(HeaderValue::as_bytes);
        values.collect::<Vec<_>>().join(&b","[..])
    };
    let is_own = !is_trusted && mode == ForwardedFields::Append || mode == ForwardedFields::Replace;
    match mode {
        _ if is_own => {
            // Nothing of what the client says about itself is left.
            assert_eq!(all("x-forwarded-for"), PEER.as_bytes());
            assert_eq!(
                (all("x-forwarded-proto"), all("x-forwarded-port")),
                (b"http".into(), b"8080".into())
            );
            assert_eq!(all("x-forwarded-host"), all("host"));
            assert!(!seen.contains_key("x-real-ip") && !seen.contains_key("x-forwarded-prefix"));
        }
        ForwardedFields::Append => {
            let addresses = all("x-forwarded-for");
            let last = addresses.rsplit(|&byte| byte == b',').next().unwrap_or_default();
            assert_eq!(last.trim_ascii(), PEER.as_bytes());
        }
        ForwardedFields::Remove => {
            let is_forwarded = |name: &HeaderName| name.as_str().starts_with("x-forwarded-");
            assert!(!seen.keys().any(is_forwarded), "{seen:?}");
            assert!(!seen.contains_key(header::FORWARDED) && !seen.contains_key("x-real-ip"));
        }
        _ => {}
    }
}
