//! Requests that servers read in different ways: each is refused, or forwarded in one form only.
//!
//! The classes and their names are those of AWS's `http-desync-guardian`.

use std::{env, fmt::Write, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    backend::{Backend, Seen, Speaks},
    certificate::Certificate,
    gateway::Gateway,
    references,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// A status of 400 to 599, or a closed connection. The backend sees nothing.
    Refuses,
    /// One request with this body reaches the backend.
    Forwards(&'static str),
}

use Does::{Forwards, Refuses};

/// The request that must never be seen by the backend.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";

/// Class, reason, request, and what happens to it.
#[rustfmt::skip]
const ROWS: &[(&str, &str, &str, Does)] = &[
    ("Compliant", "GET", "GET /a HTTP/1.1\r\nHost: h\r\n\r\n", Forwards("")),
    ("Compliant", "POST with a length", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", Forwards("abc")),
    ("Compliant", "POST in chunks", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Forwards("abc")),

    ("Acceptable", "NonCompliantHeader", "GET /a HTTP/1.1\r\nHost: h\r\nX-A: \u{e9}\r\n\r\n", Forwards("")),
    ("Acceptable", "SpaceInUri", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", Refuses),
    ("Acceptable", "NonCompliantVersion", "GET /a HTTP/1.2\r\nHost: h\r\n\r\n", Refuses),
    ("Acceptable", "NonCompliantVersion: 0.9", "GET /a\r\n\r\n", Refuses),
    ("Acceptable", "NonCompliantVersion: 2.0", "GET /a HTTP/2.0\r\nHost: h\r\n\r\n", Refuses),
    ("Acceptable", "GetHeadZeroContentLength", "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", Forwards("")),
    ("Acceptable", "NonCrLfLineTermination", "GET /a HTTP/1.1\nHost: h\n\n", Forwards("")),

    ("Ambiguous", "EmptyHeader", "GET /a HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n", Refuses),
    ("Ambiguous", "AmbiguousUri", "GET /a\u{1}b HTTP/1.1\r\nHost: h\r\n\r\n", Refuses),
    ("Ambiguous", "UndefinedContentLengthSemantics", "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", Forwards("abc")),
    ("Ambiguous", "UndefinedTransferEncodingSemantics", "GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Forwards("abc")),
    ("Ambiguous", "DuplicateContentLength", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", Forwards("abc")),
    ("Ambiguous", "DuplicateContentLength, a list", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 3\r\n\r\nabc", Refuses),
    ("Ambiguous", "BothTeClPresent", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 44\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n", Forwards("")),
    ("Ambiguous", "BothTeClPresent, reversed", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n", Forwards("abc")),
    ("Ambiguous", "SuspiciousHeader: _", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer_Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc", Refuses),
    ("Ambiguous", "SuspiciousHeader: Content_Length", "POST /a HTTP/1.1\r\nHost: h\r\nContent_Length: 40\r\nContent-Length: 3\r\n\r\nabc", Refuses),
    ("Ambiguous", "SuspiciousHeader: a space before the colon", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\nContent-Length: 3\r\n\r\nabc", Refuses),
    ("Ambiguous", "SuspiciousHeader: a tab in the value", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\tchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Forwards("abc")),
    ("Ambiguous", "SuspiciousHeader: a form feed", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \u{c}chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Refuses),
    ("Ambiguous", "MultilineHeader", "GET /a HTTP/1.1\r\nHost: h\r\nX-A: b\r\n c\r\n\r\n", Refuses),
    ("Ambiguous", "MultilineHeader, the coding", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", Refuses),
    ("Ambiguous", "PartialHeaderLine", "GET /a HTTP/1.1\r\nHost: h\r\nX-A", Refuses),
    ("Ambiguous", "MissingLastEmptyLine", "GET /a HTTP/1.1\r\nHost: h\r\n", Refuses),
    ("Ambiguous", "MissingHeaderColon", "GET /a HTTP/1.1\r\nHost: h\r\nX-A b\r\n\r\n", Refuses),
    ("Ambiguous", "MissingUri", "GET HTTP/1.1\r\nHost: h\r\n\r\n", Refuses),

    ("Severe", "BadHeader: NUL", "GET /a HTTP/1.1\r\nHost: h\r\nX-A: b\0c\r\n\r\n", Refuses),
    ("Severe", "BadHeader: CR", "GET /a HTTP/1.1\r\nHost: h\r\nX-A: b\rc\r\n\r\n", Refuses),
    ("Severe", "BadHeader: NUL in the name", "GET /a HTTP/1.1\r\nHost: h\r\nX\0A: b\r\n\r\n", Refuses),
    ("Severe", "BadUri: NUL", "GET /a\0 HTTP/1.1\r\nHost: h\r\n\r\n", Refuses),
    ("Severe", "BadVersion", "GET /a HTTP/1.1x\r\nHost: h\r\n\r\n", Refuses),
    ("Severe", "BadVersion: NUL", "GET /a HTTP/1.\0\r\nHost: h\r\n\r\n", Refuses),
    ("Severe", "MultipleContentLength", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 40\r\n\r\nabc", Refuses),
    ("Severe", "BadContentLength", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3x\r\n\r\nabc", Refuses),
    ("Severe", "BadContentLength: a sign", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc", Refuses),
    ("Severe", "BadContentLength: negative", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", Refuses),
    ("Severe", "BadContentLength: hexadecimal", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0x3\r\n\r\nabc", Refuses),
    ("Severe", "BadContentLength: too large", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551616\r\n\r\nabc", Refuses),
    ("Severe", "BadContentLength: empty", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\nabc", Refuses),
    ("Severe", "MultipleTransferEncodingChunked", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refuses),
    ("Severe", "BadTransferEncoding: identity", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc", Refuses),
    ("Severe", "BadTransferEncoding: xchunked", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", Refuses),
    ("Severe", "BadTransferEncoding: not last", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", Refuses),
    ("Severe", "BadTransferEncoding: gzip first", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Refuses),
    ("Severe", "BadTransferEncoding: two lines", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refuses),
    ("Severe", "BadTransferEncoding: HTTP/1.0", "POST /a HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refuses),
    ("Severe", "BadMethod", "GE(T /a HTTP/1.1\r\nHost: h\r\n\r\n", Refuses),

    ("Chunks", "a size with a sign", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n", Refuses),
    ("Chunks", "a size with 0x", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", Refuses),
    ("Chunks", "a size of 65 bits", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n", Refuses),
    ("Chunks", "lines that end with LF", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n", Refuses),
    ("Chunks", "an extension with LF", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;a\nb\r\nabc\r\n0\r\n\r\n", Refuses),
    ("Chunks", "an extension", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0\r\n\r\n", Forwards("abc")),
    ("Chunks", "data that is too long", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", Refuses),
    ("Chunks", "trailers that frame", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: content-length\r\n\r\n3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n", Forwards("abc")),

    ("Host", "none", "GET /a HTTP/1.1\r\n\r\n", Refuses),
    ("Host", "two", "GET /a HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", Refuses),
    ("Host", "two that are equal", "GET /a HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", Refuses),
    ("Host", "with a path", "GET /a HTTP/1.1\r\nHost: h/b\r\n\r\n", Refuses),
    ("Host", "with a user", "GET /a HTTP/1.1\r\nHost: u@h\r\n\r\n", Refuses),
    ("Host", "a list", "GET /a HTTP/1.1\r\nHost: h, i\r\n\r\n", Refuses),
    ("Host", "absolute form", "GET http://h/a HTTP/1.1\r\nHost: other\r\n\r\n", Forwards("")),
    ("Host", "named by Connection", "GET /a HTTP/1.1\r\nHost: h\r\nConnection: Host\r\n\r\n", Refuses),
    ("Host", "X-Forwarded-For named by Connection", "GET /a HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: X-Forwarded-For\r\n\r\n", Refuses),

    ("Upgrade", "h2c with a body", "POST /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Length: 3\r\n\r\nabc", Forwards("abc")),
    ("Upgrade", "a request behind one that is not answered by 101", "GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", Forwards("")),
    ("Target", "a fragment", "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", Forwards("")),
    ("Target", "not a path", "GET a HTTP/1.1\r\nHost: h\r\n\r\n", Refuses),
    ("Target", "CONNECT", "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", Refuses),
    ("Target", "CONNECT to a path", "CONNECT /a HTTP/1.1\r\nHost: h\r\n\r\n", Refuses),
    ("Target", "GET *", "GET * HTTP/1.1\r\nHost: h\r\n\r\n", Refuses),
    ("Preface", "HTTP/2 in part", "PRI * HTTP/2.0\r\n\r\nSM\r\n", Refuses),
    ("Preface", "HTTP/2 without frames", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n", Refuses),
    ("Preface", "TLS to a plain port", "\u{16}\u{3}\u{1}\u{0}\u{5}", Refuses),
];

/// Sends bytes, half-closes unless the request is complete, and returns the statuses.
async fn statuses(address: SocketAddr, request: &str) -> Vec<u16> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A request that is complete is answered; what is not keeps the connection open.
    let _ = timeout(Duration::from_millis(500), stream.read_to_end(&mut answer)).await;
    let text = String::from_utf8_lossy(&answer);
    let lines = text.split("\r\n").filter_map(|line| line.rsplit_once("HTTP/1.").map(|(_, l)| l));
    lines.filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_read_in_two_ways_is_refused_or_forwarded_in_one() {
    let backend = Backend::start(Speaks::Http1, None).await;
    let gateway = Gateway::before([backend.address]);
    let mut wrong = String::new();
    for &(class, reason, request, does) in ROWS {
        let complete = statuses(gateway.address, request).await;
        // The backend may notice the end of a part later than the client.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let seen = backend.take();
        let is = describe(&complete, &seen);
        println!("| {class} | {reason} | {is} |");
        for seen in &seen {
            if let Some(ambiguity) = &seen.ambiguity {
                let _ = writeln!(wrong, "{class}, {reason}: {ambiguity} in {seen:?}");
            }
            if !seen.trailers.is_empty() {
                let _ = writeln!(wrong, "{class}, {reason}: trailers in {seen:?}");
            }
            if seen.target == "/hidden" {
                let _ = writeln!(wrong, "{class}, {reason}: the hidden request was seen");
            }
        }
        let right = match does {
            // A body that turns out to be malformed may have been forwarded in part.
            Refuses => {
                seen.iter().all(|seen| seen.fault.is_some())
                    && complete.iter().all(|status| (400..600).contains(status))
            }
            Forwards(body) => {
                matches!(&seen[..], [one] if one.body == body.as_bytes() && one.fault.is_none())
                    && complete.first() == Some(&200)
            }
        };
        if !right {
            let _ = writeln!(wrong, "{class}, {reason}: {is}, not {does:?}: {seen:?}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let told =
        statuses(gateway.address, "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert_eq!(told, [200]);
    gateway.stop().assert_nothing_was_charged();
}

/// Prints what nginx and HAProxy do with the same requests, for the table in docs/gateway.md.
#[tokio::test(flavor = "multi_thread")]
async fn beside_nginx_and_haproxy() {
    if env::var_os("WIRE_BESIDE").is_none() {
        return;
    }
    let backend = Backend::start(Speaks::Http1, None).await;
    let certificate = Certificate::new("desync");
    for (name, reference) in references::start(backend.address, Speaks::Http1, &certificate).await {
        for &(class, reason, request, _) in ROWS {
            let statuses = statuses(reference.front.http1, request).await;
            let seen = backend.take();
            let ambiguity = seen.iter().find_map(|seen| seen.ambiguity.clone());
            println!(
                "| {class} | {reason} | {name} | {} | {ambiguity:?}",
                describe(&statuses, &seen)
            );
        }
    }
}

/// A second request on the connection of one that was ambiguous is not another request.
#[tokio::test(flavor = "multi_thread")]
async fn the_connection_of_an_ambiguous_request_is_not_used_again() {
    let backend = Backend::start(Speaks::Http1, None).await;
    let gateway = Gateway::before([backend.address]);
    for &(class, reason, request, _) in ROWS.iter().filter(|row| row.0 == "Severe") {
        statuses(gateway.address, &format!("{request}{HIDDEN}")).await;
        let hidden = backend.take().into_iter().any(|seen| seen.target == "/hidden");
        assert!(!hidden, "{class}, {reason}");
    }
}

fn describe(statuses: &[u16], seen: &[Seen]) -> String {
    let statuses: Vec<String> = statuses.iter().map(ToString::to_string).collect();
    let statuses = if statuses.is_empty() { "no answer".into() } else { statuses.join(" ") };
    match seen {
        [] => format!("{statuses}, not forwarded"),
        [one] if one.fault.is_some() => format!("{statuses}, forwarded in part"),
        [_] => format!("{statuses}, forwarded"),
        more => format!("{statuses}, {} requests forwarded", more.len()),
    }
}
