//! Clients that show all of what they receive.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{
    backend::fields_of,
    h1::{Fields, Framing, Reader, field},
};

/// The protocol of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Talks {
    Http10,
    Http11,
    Http2,
    /// HTTP/2 by ALPN.
    Http2Tls,
}

/// What a client sends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) fields: Vec<(&'static str, &'static str)>,
    pub(crate) body: Option<&'static str>,
    /// Whether the length of the body is announced.
    pub(crate) chunked: bool,
    pub(crate) trailers: Vec<(&'static str, &'static str)>,
}

impl Ask {
    pub(crate) fn get(path: &'static str) -> Self {
        Self { method: "GET", path, ..Self::default() }
    }

    pub(crate) fn post(path: &'static str, body: &'static str) -> Self {
        Self { method: "POST", path, body: Some(body), ..Self::default() }
    }
}

/// What a client receives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) version: String,
    pub(crate) informational: Vec<u16>,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
    /// Whether the response ended before its end.
    pub(crate) cut: bool,
}

impl Told {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.fields, name)
    }
}

/// How far a client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    Well,
    /// Leaves the second half of the body out until the response is there.
    Halfway,
    /// Closes the connection, or resets the stream, without having read a response.
    Cancels,
}

pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<I: AsyncRead + AsyncWrite + Send + Unpin> Io for I {}

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) talks: Talks,
    pub(crate) address: SocketAddr,
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

/// The host that all clients ask for. It is not the address of any server.
pub(crate) const HOST: &str = "shop.example";

impl Client {
    async fn connect(&self) -> io::Result<Box<dyn Io>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        if self.talks != Talks::Http2Tls {
            return Ok(Box::new(stream));
        }
        let mut config = (*self.tls).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = "localhost".try_into().unwrap();
        Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
    }

    /// Sends a request, and waits for the response, at most 4 s.
    pub(crate) async fn send(&self, ask: &Ask, ends: Ends) -> io::Result<Told> {
        let exchange = async {
            let io = self.connect().await?;
            match self.talks {
                Talks::Http10 => http1(io, "HTTP/1.0", ask, ends).await,
                Talks::Http11 => http1(io, "HTTP/1.1", ask, ends).await,
                Talks::Http2 | Talks::Http2Tls => {
                    http2(io, ask, ends, self.talks).await.map_err(io::Error::other)
                }
            }
        };
        timeout(Duration::from_secs(4), exchange).await?
    }

    /// Opens a WebSocket, without its framing: sends bytes and receives them again.
    pub(crate) async fn upgrade(&self) -> io::Result<(u16, bool)> {
        let exchange = async {
            let io = self.connect().await?;
            match self.talks {
                Talks::Http2 | Talks::Http2Tls => {
                    extended_connect(io).await.map_err(io::Error::other)
                }
                _ => upgrade(io, self.talks).await,
            }
        };
        timeout(Duration::from_secs(4), exchange).await?
    }
}

type Halves = (Reader<ReadHalf<Box<dyn Io>>>, WriteHalf<Box<dyn Io>>);

fn halves(io: Box<dyn Io>) -> Halves {
    let (read, write) = split(io);
    (Reader::new(read), write)
}

async fn http1(io: Box<dyn Io>, version: &str, ask: &Ask, ends: Ends) -> io::Result<Told> {
    let mut head = format!("{} {} {version}\r\nHost: {HOST}\r\n", ask.method, ask.path);
    for (name, value) in &ask.fields {
        head += &format!("{name}: {value}\r\n");
    }
    let body = ask.body.unwrap_or_default();
    let (first, second) = body.split_at(body.len() / 2);
    let (first, second) = match ask.chunked {
        true => {
            head += "Transfer-Encoding: chunked\r\n";
            if let Some((name, _)) = ask.trailers.first() {
                head += &format!("Trailer: {name}\r\nTE: trailers\r\nConnection: TE\r\n");
            }
            let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
            let trailers = ask.trailers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
            (chunk(first), format!("{}0\r\n{}\r\n", chunk(second), trailers.collect::<String>()))
        }
        false => {
            if ask.body.is_some() {
                head += &format!("Content-Length: {}\r\n", body.len());
            }
            (first.into(), second.into())
        }
    };
    let (mut reader, mut write) = halves(io);
    write.write_all((head + "\r\n").as_bytes()).await?;
    let mut told = Told::default();
    let expects = ask.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("expect"));
    let mut response = None;
    if expects {
        let head = reader.head().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        match head.word(1) {
            "100" => told.informational.push(100),
            _ => response = Some(head),
        }
    }
    if response.is_none() {
        write.write_all(first.as_bytes()).await?;
        match ends {
            Ends::Well => write.write_all(second.as_bytes()).await?,
            Ends::Halfway => {}
            Ends::Cancels => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                return Ok(told);
            }
        }
    }
    let head = loop {
        let head = match response.take() {
            Some(head) => head,
            None => reader.head().await?.ok_or(io::ErrorKind::UnexpectedEof)?,
        };
        match head.word(1).parse().unwrap_or(0) {
            code @ 100..=199 => told.informational.push(code),
            _ => break head,
        }
    };
    told.status = head.word(1).parse().map_err(io::Error::other)?;
    told.version = head.word(0).into();
    told.fields = head.fields.clone();
    match reader.body(Framing::of_response(&head, ask.method)).await {
        Ok((body, trailers)) => (told.body, told.trailers) = (body, trailers),
        Err(_) => told.cut = true,
    }
    Ok(told)
}

async fn upgrade(io: Box<dyn Io>, talks: Talks) -> io::Result<(u16, bool)> {
    let version = if talks == Talks::Http10 { "1.0" } else { "1.1" };
    let (mut reader, mut write) = halves(io);
    let head = format!(
        "GET /upgrade HTTP/{version}\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    write.write_all(head.as_bytes()).await?;
    let head = reader.head().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.word(1).parse().unwrap_or(0);
    if status != 101 {
        return Ok((status, false));
    }
    write.write_all(b"ping").await?;
    let echo = reader.exactly(4).await?;
    Ok((status, echo == b"ping"))
}

async fn http2(io: Box<dyn Io>, ask: &Ask, ends: Ends, talks: Talks) -> Result<Told, h2::Error> {
    let (mut client, connection) = h2::client::handshake(io).await?;
    let driver = tokio::spawn(connection);
    let scheme = if talks == Talks::Http2Tls { "https" } else { "http" };
    let uri = format!("{scheme}://{HOST}{}", ask.path);
    let mut request = Request::builder().method(ask.method).uri(uri);
    for (name, value) in &ask.fields {
        request = request.header(*name, *value);
    }
    if !ask.trailers.is_empty() {
        request = request.header("te", "trailers");
    }
    if let Some((name, _)) = ask.trailers.first() {
        request = request.header("trailer", *name);
    }
    let body = ask.body.unwrap_or_default();
    if ask.body.is_some() && !ask.chunked {
        request = request.header("content-length", body.len());
    }
    let (response, mut send) =
        client.send_request(request.body(()).unwrap(), ask.body.is_none())?;
    let (first, second) = body.split_at(body.len() / 2);
    if ask.body.is_some() {
        send.send_data(Bytes::from(first), false)?;
        if ends == Ends::Well {
            // The server may have answered, and refused the rest.
            let _ = match ask.trailers.first() {
                None => send.send_data(Bytes::from(second), true),
                Some((name, value)) => {
                    send.send_data(Bytes::from(second), false)?;
                    let mut trailers = HeaderMap::new();
                    let name = HeaderName::from_static(name);
                    trailers.insert(name, HeaderValue::from_static(value));
                    send.send_trailers(trailers)
                }
            };
        }
    }
    let mut told = Told::default();
    if ends == Ends::Cancels {
        tokio::time::sleep(Duration::from_millis(100)).await;
        send.send_reset(h2::Reason::CANCEL);
        drop((response, send));
        tokio::time::sleep(Duration::from_millis(100)).await;
        driver.abort();
        return Ok(told);
    }
    let (head, mut body) = response.await?.into_parts();
    told.status = head.status.as_u16();
    told.version = format!("{:?}", head.version);
    told.fields = fields_of(&head.headers);
    while let Some(bytes) = body.data().await {
        match bytes {
            Ok(bytes) => {
                body.flow_control().release_capacity(bytes.len())?;
                told.body.extend_from_slice(&bytes);
            }
            Err(error) => {
                told.cut = error.reason() != Some(h2::Reason::NO_ERROR);
                return Ok(told);
            }
        }
    }
    match body.trailers().await {
        Ok(trailers) => told.trailers = trailers.map(|t| fields_of(&t)).unwrap_or_default(),
        Err(_) => told.cut = true,
    }
    driver.abort();
    Ok(told)
}

async fn extended_connect(io: Box<dyn Io>) -> Result<(u16, bool), h2::Error> {
    let (client, connection) = h2::client::handshake(io).await?;
    let driver = tokio::spawn(connection);
    let mut client = client.ready().await?;
    // The server's settings say whether it knows RFC 8441; they come first.
    for _ in 0..50 {
        if client.is_extended_connect_protocol_enabled() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if !client.is_extended_connect_protocol_enabled() {
        return Ok((0, false));
    }
    let request = Request::connect(format!("https://{HOST}/upgrade"))
        .extension(h2::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13");
    let (response, mut send) = client.send_request(request.body(()).unwrap(), false)?;
    let response = response.await?;
    let status = response.status().as_u16();
    if status != 200 {
        return Ok((status, false));
    }
    send.send_data(Bytes::from_static(b"ping"), false)?;
    let mut body = response.into_body();
    let mut echo = Vec::new();
    while echo.len() < 4 {
        let Some(bytes) = body.data().await.transpose()? else { break };
        body.flow_control().release_capacity(bytes.len())?;
        echo.extend_from_slice(&bytes);
    }
    driver.abort();
    Ok((status, echo == b"ping"))
}
