//! Every version of a client's connection with every version of a backend's.

use std::{collections::BTreeMap, fmt::Write, net::SocketAddr, sync::Arc};

use crate::{
    backend::{Backend, Seen, Speaks},
    certificate::Certificate,
    client::{Ask, Client, Ends, HOST, Talks, Told},
    gateway::Gateway,
    references,
};

const CLIENTS: [Talks; 4] = [Talks::Http10, Talks::Http11, Talks::Http2, Talks::Http2Tls];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Case {
    Get,
    Head,
    NoContent,
    PostLength,
    PostChunked,
    Trailers,
    Expect,
    Upgrade,
    Early,
    ClientCancels,
    BackendCancels,
}

const CASES: [Case; 11] = [
    Case::Get,
    Case::Head,
    Case::NoContent,
    Case::PostLength,
    Case::PostChunked,
    Case::Trailers,
    Case::Expect,
    Case::Upgrade,
    Case::Early,
    Case::ClientCancels,
    Case::BackendCancels,
];

/// A proxy under test.
pub(crate) struct Front {
    pub(crate) http1: SocketAddr,
    pub(crate) http2: SocketAddr,
    pub(crate) tls: SocketAddr,
}

impl Front {
    fn address(&self, talks: Talks) -> SocketAddr {
        match talks {
            Talks::Http10 | Talks::Http11 => self.http1,
            Talks::Http2 => self.http2,
            Talks::Http2Tls => self.tls,
        }
    }
}

/// Runs one case, and says in a line what both sides saw.
async fn run(case: Case, client: &Client, backend: &Backend) -> String {
    backend.take();
    let is_http1 = matches!(client.talks, Talks::Http10 | Talks::Http11);
    match case {
        Case::Get => {
            let mut ask = Ask::get("/echo?x=1");
            ask.fields.push(("proxy-authorization", "Basic eDp5"));
            if is_http1 {
                ask.fields.extend([
                    ("Connection", "X-Secret"),
                    ("Connection", "keep-alive, X-Other"),
                    ("X-Secret", "1"),
                    ("X-Other", "1"),
                    ("Keep-Alive", "timeout=5"),
                    ("Proxy-Connection", "keep-alive"),
                    ("TE", "gzip"),
                ]);
            }
            both(client.send(&ask, Ends::Well).await, backend, |told, seen| {
                let mut line = format!("{} {}", told.status, seen.target);
                let authority = seen.field(":authority").filter(|authority| !authority.is_empty());
                let authority = authority.or_else(|| seen.field("host"));
                if authority != Some(HOST) {
                    let _ = write!(line, ", another host");
                }
                for name in [
                    "x-secret",
                    "x-other",
                    "keep-alive",
                    "proxy-connection",
                    "te",
                    "proxy-authorization",
                ] {
                    if seen.field(name).is_some() {
                        let _ = write!(line, ", forwards {name}");
                    }
                }
                let version = match client.talks {
                    Talks::Http10 => "HTTP/1.0",
                    Talks::Http11 => "HTTP/1.1",
                    _ => "HTTP/2.0",
                };
                if told.version != version {
                    let _ = write!(line, ", answers {}", told.version);
                }
                line
            })
            .await
        }
        Case::Head => {
            let ask = Ask { method: "HEAD", ..Ask::get("/echo") };
            both(client.send(&ask, Ends::Well).await, backend, |told, _| {
                let length = told.field("content-length").unwrap_or("unknown");
                format!("{} length {length}, {} bytes", told.status, told.body.len())
            })
            .await
        }
        Case::NoContent => {
            let mut line = String::new();
            for path in ["/204", "/304"] {
                let told = client.send(&Ask::get(path), Ends::Well).await;
                let told = both(told, backend, |told, _| match told.field("content-length") {
                    Some(length) => format!("{} length {length}", told.status),
                    None => told.status.to_string(),
                });
                line += &(told.await + " ");
            }
            line.trim_end().into()
        }
        Case::PostLength => post(client, backend, Ask::post("/echo", "some bytes")).await,
        Case::PostChunked if client.talks == Talks::Http10 => "-".into(),
        Case::PostChunked => {
            let ask = Ask { chunked: true, ..Ask::post("/echo", "some bytes") };
            post(client, backend, ask).await
        }
        Case::Trailers if client.talks == Talks::Http10 => "-".into(),
        Case::Trailers => {
            let ask = Ask {
                chunked: true,
                trailers: vec![("x-last", "1")],
                ..Ask::post("/trailers", "some bytes")
            };
            both(client.send(&ask, Ends::Well).await, backend, |told, seen| {
                let request = crate::h1::field(&seen.trailers, "x-last").is_some();
                let response = crate::h1::field(&told.trailers, "x-sum").is_some();
                let named = |passed| if passed { "passes" } else { "is lost" };
                format!(
                    "{} request's {}, response's {}",
                    told.status,
                    named(request),
                    named(response)
                )
            })
            .await
        }
        Case::Expect if client.talks == Talks::Http10 => "-".into(),
        Case::Expect => {
            let mut ask = Ask::post("/echo", "some bytes");
            ask.fields.push(("expect", "100-continue"));
            post(client, backend, ask).await
        }
        Case::Upgrade => match client.upgrade().await {
            Ok((0, _)) => "not offered".into(),
            Ok((status, true)) => format!("{status}, tunnel"),
            Ok((status, false)) => format!("{status}, no tunnel"),
            Err(error) => error.to_string(),
        },
        Case::Early => {
            let ask = Ask::post("/early", "some bytes");
            let told = client.send(&ask, Ends::Halfway).await;
            // The client has gone now.
            backend.next().await;
            match told {
                Ok(told) => {
                    let cut = if told.cut { ", cut" } else { "" };
                    format!("{} {}{cut}", told.status, String::from_utf8_lossy(&told.body))
                }
                Err(error) => error.to_string(),
            }
        }
        Case::ClientCancels => {
            let body = client.send(&Ask::post("/echo", "some bytes"), Ends::Cancels).await;
            let first = match (body, backend.next().await) {
                (Err(error), _) => error.to_string(),
                (_, None) => "no request".into(),
                (_, Some(seen)) if seen.fault.is_some() => "the upload ends".into(),
                (_, Some(seen)) if seen.body.len() < 10 => "looks complete".into(),
                (_, Some(_)) => "complete".into(),
            };
            let _ = client.send(&Ask::get("/hang"), Ends::Cancels).await;
            let second = backend.next().await.and_then(|seen| seen.fault);
            format!("{first}, {}", second.unwrap_or_else(|| "no request".into()))
        }
        Case::BackendCancels => match client.send(&Ask::get("/abort"), Ends::Well).await {
            Ok(told) if told.cut => format!("{} cut", told.status),
            Ok(told) => format!("{} looks complete", told.status),
            Err(error) => error.to_string(),
        },
    }
}

async fn post(client: &Client, backend: &Backend, ask: Ask) -> String {
    both(client.send(&ask, Ends::Well).await, backend, |told, seen| {
        let mut line: String = told.informational.iter().map(|code| format!("{code} ")).collect();
        let _ = write!(line, "{}", told.status);
        let body = ask.body.unwrap_or_default().as_bytes();
        if seen.body != body || told.body != body {
            let _ = write!(line, ", another body");
        }
        match (seen.field("content-length"), seen.field("transfer-encoding")) {
            (Some(_), None) => line += ", length",
            (None, Some(_)) => line += ", chunked",
            (None, None) => line += ", by frames",
            (Some(_), Some(_)) => line += ", length and chunked",
        }
        if seen.field("expect").is_some() {
            line += ", forwards expect";
        }
        line
    })
    .await
}

/// Describes an exchange from both sides.
async fn both(
    told: std::io::Result<Told>,
    backend: &Backend,
    describe: impl FnOnce(Told, Seen) -> String,
) -> String {
    let told = match told {
        Ok(told) => told,
        Err(error) => return error.to_string(),
    };
    let cut = told.cut;
    let status = told.status;
    let line = match backend.next().await {
        Some(seen) => match &seen.fault {
            None => describe(told, seen),
            Some(fault) => format!("{status}, the backend: {fault}"),
        },
        None => format!("{status} without the backend"),
    };
    if cut { format!("{line}, cut") } else { line }
}

/// What the gateway does.
fn expected(case: Case, talks: Talks, speaks: Speaks) -> &'static str {
    let http2_client = matches!(talks, Talks::Http2 | Talks::Http2Tls);
    match (case, speaks) {
        (Case::Get, _) => "200 /echo?x=1",
        (Case::Head, _) => "200 length 1234, 0 bytes",
        (Case::NoContent, _) => "204 304",
        (Case::PostLength, _) => "200, length",
        (Case::PostChunked | Case::Trailers | Case::Expect, _) if talks == Talks::Http10 => "-",
        (Case::PostChunked, Speaks::Http1) => "200, chunked",
        (Case::PostChunked, Speaks::Http2) => "200, by frames",
        (Case::Trailers, _) => "200 request's passes, response's passes",
        (Case::Expect, _) if http2_client => "200, length",
        (Case::Expect, _) => "100 200, length",
        (Case::Upgrade, _) if http2_client => "200, tunnel",
        (Case::Upgrade, _) if talks == Talks::Http10 => "200, no tunnel",
        (Case::Upgrade, _) => "101, tunnel",
        (Case::Early, _) => "200 early",
        (Case::ClientCancels, _) => "the upload ends, cancelled",
        // HTTP/2 announced no length, so the end of the connection is the end of the body.
        (Case::BackendCancels, Speaks::Http2) if talks == Talks::Http10 => "200 looks complete",
        (Case::BackendCancels, _) => "200 cut",
    }
}

type Table = BTreeMap<(String, String, Case), String>;

async fn fill(
    table: &mut Table,
    name: &str,
    behind: &str,
    front: &Front,
    backend: &Backend,
    certificate: &Certificate,
) {
    for talks in CLIENTS {
        let client =
            Client { talks, address: front.address(talks), tls: Arc::clone(&certificate.client) };
        for case in CASES {
            let line = run(case, &client, backend).await;
            table.insert((format!("{talks:?} to {behind}"), name.into(), case), line);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_in_and_out() {
    let certificate = Certificate::new("matrix");
    let mut table = Table::new();
    let mut wrong = String::new();
    for (speaks, encrypted) in [
        (Speaks::Http1, false),
        (Speaks::Http2, false),
        (Speaks::Http1, true),
        (Speaks::Http2, true),
    ] {
        let acceptor = encrypted.then(|| certificate.acceptor(speaks));
        let backend = Backend::start(speaks, acceptor).await;
        let scheme = if encrypted { "https" } else { "http" };
        let mut arguments = vec![format!("--upstream={scheme}://{}", backend.address)];
        if speaks == Speaks::Http2 {
            arguments.push("--upstream-http2".into());
        }
        let trusting = |arguments: &[String]| Gateway::trusting(arguments, &certificate.cert);
        let plain = trusting(&arguments);
        let (cert, key) = (certificate.cert.display(), certificate.key.display());
        arguments.extend([format!("--tls-cert={cert}"), format!("--tls-key={key}")]);
        let tls = trusting(&arguments);
        let front = Front { http1: plain.address, http2: plain.address, tls: tls.address };
        let behind = format!("{speaks:?}{}", if encrypted { " over TLS" } else { "" });
        fill(&mut table, "gateway", &behind, &front, &backend, &certificate).await;
        if !encrypted {
            let references = references::start(backend.address, speaks, &certificate).await;
            for (name, reference) in references {
                fill(&mut table, name, &behind, &reference.front, &backend, &certificate).await;
            }
        }
        for talks in CLIENTS {
            for case in CASES {
                let pair = format!("{talks:?} to {behind}");
                let is = &table[&(pair.clone(), "gateway".into(), case)];
                let expected = expected(case, talks, speaks);
                if is != expected {
                    let _ = writeln!(wrong, "{pair}, {case:?}: {is:?}, not {expected:?}");
                }
            }
        }
        plain.stop().assert_ended_well();
        tls.stop().assert_ended_well();
    }
    print_differences(&table);
    assert!(wrong.is_empty(), "{wrong}");
}

/// Prints where the gateway, nginx and HAProxy differ, as docs/gateway.md has it.
fn print_differences(table: &Table) {
    for ((pair, name, case), line) in table {
        if name != "gateway" && &table[&(pair.clone(), "gateway".into(), *case)] != line {
            println!(
                "| {pair} | {case:?} | {} | {name} | {line} |",
                table[&(pair.clone(), "gateway".into(), *case)]
            );
        }
    }
}
