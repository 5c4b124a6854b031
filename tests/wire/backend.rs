//! Backends that record what reaches them, and answer by the path of the request.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use ring::digest;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, split},
    net::TcpListener,
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use crate::h1::{Fields, Framing, Head, Reader, field};

/// The protocol of a backend's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
}

/// A request as it has reached a backend.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
    /// Why the request did not end.
    pub(crate) fault: Option<String>,
    /// How the head could be read in two ways.
    pub(crate) ambiguity: Option<String>,
}

impl Seen {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.fields, name)
    }
}

#[derive(Default)]
struct Records {
    seen: Mutex<VecDeque<Seen>>,
    arrived: Notify,
    open: AtomicUsize,
}

impl Records {
    fn add(&self, seen: Seen) {
        self.seen.lock().unwrap().push_back(seen);
        self.arrived.notify_one();
    }
}

#[derive(Clone)]
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    records: Arc<Records>,
}

impl Backend {
    pub(crate) async fn start(speaks: Speaks, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let records = Arc::new(Records::default());
        let shared = Arc::clone(&records);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (tls, records) = (tls.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    records.open.fetch_add(1, Relaxed);
                    let _ = match tls {
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(speaks, stream, &records).await,
                            Err(error) => Err(error),
                        },
                        None => serve(speaks, stream, &records).await,
                    };
                    records.open.fetch_sub(1, Relaxed);
                });
            }
        });
        Self { address, records }
    }

    /// The next request that has ended, well or not.
    pub(crate) async fn next(&self) -> Option<Seen> {
        let next = async {
            loop {
                if let Some(seen) = self.records.seen.lock().unwrap().pop_front() {
                    return seen;
                }
                self.records.arrived.notified().await;
            }
        };
        timeout(Duration::from_secs(2), next).await.ok()
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.records.open.load(Relaxed)
    }

    /// Everything that has arrived since the last call.
    pub(crate) fn take(&self) -> Vec<Seen> {
        self.records.seen.lock().unwrap().drain(..).collect()
    }
}

async fn serve<I>(speaks: Speaks, io: I, records: &Arc<Records>) -> io::Result<()>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    match speaks {
        Speaks::Http1 => serve_http1(io, records).await,
        Speaks::Http2 => serve_http2(io, records).await.map_err(io::Error::other),
    }
}

async fn serve_http1<I: AsyncRead + AsyncWrite + Send>(io: I, records: &Records) -> io::Result<()> {
    let (read, mut write) = split(io);
    let mut reader = Reader::new(read);
    loop {
        let head = match reader.head().await {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(()),
            // A part of a head is what no gateway may send.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                records.add(Seen { ambiguity: Some("a part of a head".into()), ..Seen::default() });
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mut seen = Seen {
            method: head.word(0).into(),
            target: head.word(1).into(),
            fields: head.fields.clone(),
            ambiguity: head.ambiguity(),
            ..Seen::default()
        };
        let path = seen.target.split('?').next().unwrap_or_default().to_owned();
        match path.as_str() {
            "/upgrade" if head.field("upgrade").is_some() => {
                let upgrade = head.field("upgrade").unwrap_or_default();
                let key = head.field("sec-websocket-key").unwrap_or_default();
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {upgrade}\r\n\
                     sec-websocket-accept: {}\r\n\r\n",
                    accept(key)
                );
                write.write_all(answer.as_bytes()).await?;
                records.add(seen);
                while let Ok(bytes) = reader.exactly(4).await {
                    write.write_all(&bytes).await?;
                }
                return Ok(());
            }
            // Answers before it reads the body.
            "/early" => {
                write.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly").await?;
                finish(&mut reader, &head, &mut seen).await;
                let ended = seen.fault.is_some();
                records.add(seen);
                if ended {
                    return Ok(());
                }
                continue;
            }
            _ => {}
        }
        if head.field("expect").is_some() {
            write.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        finish(&mut reader, &head, &mut seen).await;
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        let (method, broken) = (seen.method.clone(), seen.fault.is_some());
        if path == "/hang" {
            // Only the end of the connection ends this.
            let end = timeout(Duration::from_secs(10), reader.head()).await;
            seen.fault = Some(if end.is_ok() { "cancelled" } else { "not cancelled" }.into());
            records.add(seen);
            return Ok(());
        }
        records.add(seen);
        if broken {
            return Ok(());
        }
        let answer = match path.as_str() {
            "/trailers" => {
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                 4\r\nbody\r\n0\r\nx-sum: 7\r\n\r\n"
                    .into()
            }
            "/abort" => {
                write.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this").await?;
                // The part is to reach the client before the end does.
                sleep(Duration::from_millis(100)).await;
                return Ok(());
            }
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n".into(),
            "/304" => "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n".into(),
            "/103" => "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".into(),
            _ if method == "HEAD" => "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n".into(),
            _ => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
        };
        write.write_all(answer.as_bytes()).await?;
    }
}

/// The proof of RFC 6455, 4.2.2, that the server has understood the key.
fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

async fn finish<R: AsyncRead + Unpin>(reader: &mut Reader<R>, head: &Head, seen: &mut Seen) {
    match reader.body(Framing::of_request(head)).await {
        Ok((body, trailers)) => (seen.body, seen.trailers) = (body, trailers),
        Err(error) => seen.fault = Some(format!("body: {error}")),
    }
}

async fn serve_http2<I>(io: I, records: &Arc<Records>) -> Result<(), h2::Error>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    let mut connection = builder.handshake::<_, Bytes>(io).await?;
    while let Some(request) = connection.accept().await {
        let (request, respond) = request?;
        let records = Arc::clone(records);
        // What concerns the request is recorded; the rest is the end of a stream.
        tokio::spawn(async move { answer_http2(request, respond, &records).await });
    }
    Ok(())
}

async fn answer_http2(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    records: &Records,
) -> Result<(), h2::Error> {
    let (parts, mut body) = request.into_parts();
    let mut fields: Fields = fields_of(&parts.headers);
    let authority = parts.uri.authority().map(ToString::to_string).unwrap_or_default();
    fields.insert(0, (":authority".into(), authority));
    if let Some(protocol) = parts.extensions.get::<h2::ext::Protocol>() {
        fields.insert(0, (":protocol".into(), protocol.as_str().into()));
    }
    let path = parts.uri.path().to_owned();
    let mut seen = Seen {
        method: parts.method.to_string(),
        target: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        fields,
        ..Seen::default()
    };
    let status = |code: u16| {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(code).unwrap();
        response
    };
    if path == "/upgrade" && seen.field(":protocol").is_some() {
        records.add(seen);
        let mut send = respond.send_response(status(200), false)?;
        while let Some(bytes) = body.data().await.transpose()? {
            body.flow_control().release_capacity(bytes.len())?;
            send.send_data(bytes, false)?;
        }
        return send.send_data(Bytes::new(), true);
    }
    let early = path == "/early";
    if early {
        let mut response = status(200);
        response.headers_mut().insert("content-length", HeaderValue::from_static("5"));
        let mut send = respond.send_response(response, false)?;
        send.send_data(Bytes::from_static(b"early"), true)?;
    }
    while let Some(bytes) = body.data().await {
        match bytes {
            Ok(bytes) => {
                body.flow_control().release_capacity(bytes.len())?;
                seen.body.extend_from_slice(&bytes);
            }
            Err(error) => {
                // A stream may be reset before its empty body is looked at.
                let hangs = path == "/hang";
                seen.fault =
                    Some(if hangs { "cancelled".into() } else { format!("body: {error}") });
                records.add(seen);
                return Ok(());
            }
        }
    }
    match body.trailers().await {
        Ok(trailers) => seen.trailers = trailers.as_ref().map(fields_of).unwrap_or_default(),
        Err(error) => seen.fault = Some(format!("trailers: {error}")),
    }
    if path == "/hang" {
        let reset = std::future::poll_fn(|cx| respond.poll_reset(cx));
        let end = timeout(Duration::from_secs(10), reset).await;
        seen.fault = Some(if end.is_ok() { "cancelled" } else { "not cancelled" }.into());
        records.add(seen);
        return Ok(());
    }
    let body = Bytes::from(seen.body.clone());
    let head = seen.method == "HEAD";
    records.add(seen);
    match path.as_str() {
        _ if early => Ok(()),
        "/204" => respond.send_response(status(204), true).map(drop),
        "/304" => respond.send_response(status(304), true).map(drop),
        "/trailers" => {
            // hyper writes trailers on HTTP/1.1 that are announced.
            let mut response = status(200);
            response.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
            let mut send = respond.send_response(response, false)?;
            send.send_data(Bytes::from_static(b"body"), false)?;
            let mut trailers = HeaderMap::new();
            trailers.insert(HeaderName::from_static("x-sum"), HeaderValue::from_static("7"));
            send.send_trailers(trailers)
        }
        "/abort" => {
            let mut send = respond.send_response(status(200), false)?;
            send.send_data(Bytes::from_static(b"only this"), false)?;
            sleep(Duration::from_millis(100)).await;
            send.send_reset(h2::Reason::INTERNAL_ERROR);
            Ok(())
        }
        _ if head => {
            let mut response = status(200);
            response.headers_mut().insert("content-length", HeaderValue::from_static("1234"));
            respond.send_response(response, true).map(drop)
        }
        _ => {
            let mut send = respond.send_response(status(200), false)?;
            send.send_data(body, true)
        }
    }
}

pub(crate) fn fields_of(headers: &HeaderMap) -> Fields {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}
