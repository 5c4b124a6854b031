//! HTTP/1 by hand: reads messages strictly, and keeps the bytes they came in.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// A field as it was sent: name and value, in order, without any interpretation.
pub(crate) type Fields = Vec<(String, String)>;

/// The first value of a field whose name, in lower case, is `name`.
pub(crate) fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    let mut values = fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
    values.next().map(|(_, value)| value.as_str())
}

/// A start line, and fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) line: String,
    pub(crate) fields: Fields,
    /// The bytes, with the empty line.
    pub(crate) raw: Vec<u8>,
}

impl Head {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.fields, name)
    }

    /// The `n`th word of the start line.
    pub(crate) fn word(&self, n: usize) -> &str {
        self.line.split(' ').nth(n).unwrap_or_default()
    }

    /// Says in which way two readers could disagree about this head, if they could.
    pub(crate) fn ambiguity(&self) -> Option<String> {
        let count = |name: &str| {
            self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name)).count()
        };
        let lengths = count("content-length");
        if lengths > 1 || count("transfer-encoding") > 1 || count("host") != 1 {
            return Some("a repeated length, coding or host, or no host".into());
        }
        if lengths == 1 && count("transfer-encoding") == 1 {
            return Some("both a length and a coding".into());
        }
        if self
            .field("content-length")
            .is_some_and(|n| n.is_empty() || !n.bytes().all(|b| b.is_ascii_digit()))
        {
            return Some("a length that is not a number".into());
        }
        if self.field("transfer-encoding").is_some_and(|coding| coding != "chunked") {
            return Some("a coding other than chunked".into());
        }
        let bare = |window: &[u8]| (window[1] == b'\n') != (window[0] == b'\r');
        if self.raw.windows(2).any(bare) || self.raw.contains(&0) {
            return Some("a bare CR or LF, or a NUL".into());
        }
        if self.line.split(' ').count() != 3 {
            return Some("a start line that is not three words".into());
        }
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        for (name, _) in &self.fields {
            if name.is_empty() || !name.bytes().all(token) {
                return Some(format!("the field name {name:?}"));
            }
            let plain = name.to_ascii_lowercase().replace('_', "-");
            if name.contains('_')
                && ["content-length", "transfer-encoding"].contains(&plain.as_str())
            {
                return Some(format!("the look-alike {name:?}"));
            }
        }
        None
    }
}

/// How a message's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
    /// At the end of the connection.
    Close,
}

impl Framing {
    pub(crate) fn of_request(head: &Head) -> Self {
        match (head.field("transfer-encoding"), head.field("content-length")) {
            (Some(_), _) => Self::Chunked,
            (None, Some(length)) => Self::Length(length.parse().unwrap_or(0)),
            (None, None) => Self::Length(0),
        }
    }

    pub(crate) fn of_response(head: &Head, method: &str) -> Self {
        let status = head.word(1);
        if method == "HEAD" || status.starts_with('1') || ["204", "304"].contains(&status) {
            return Self::Length(0);
        }
        match (head.field("transfer-encoding"), head.field("content-length")) {
            (Some(_), _) => Self::Chunked,
            (None, Some(length)) => Self::Length(length.parse().unwrap_or(0)),
            (None, None) => Self::Close,
        }
    }
}

/// Reads messages from one side of a connection.
pub(crate) struct Reader<R> {
    io: R,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(io: R) -> Self {
        Self { io, buffer: Vec::new() }
    }

    /// Reads once; the result is 0 at the end of the connection.
    async fn fill(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 16384];
        let read = self.io.read(&mut bytes).await?;
        self.buffer.extend_from_slice(&bytes[..read]);
        Ok(read)
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.fill().await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Reads a head; `None` if the connection ends before one begins.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if self.fill().await? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        };
        let raw: Vec<u8> = self.buffer.drain(..end).collect();
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let fields = lines.take_while(|line| !line.is_empty()).map(split_field).collect();
        Ok(Some(Head { line, fields, raw }))
    }

    /// Reads a body and its trailers.
    pub(crate) async fn body(&mut self, framing: Framing) -> io::Result<(Vec<u8>, Fields)> {
        let mut body = Vec::new();
        match framing {
            Framing::Length(length) => {
                while self.buffer.len() < length {
                    self.more().await?;
                }
                body.extend(self.buffer.drain(..length));
            }
            Framing::Close => {
                while self.fill().await? > 0 {}
                body.append(&mut self.buffer);
            }
            Framing::Chunked => loop {
                let size = self.line().await?;
                let size = size.split(';').next().unwrap_or_default();
                let invalid = |_| io::Error::new(io::ErrorKind::InvalidData, "chunk size");
                let size = usize::from_str_radix(size, 16).map_err(invalid)?;
                if size == 0 {
                    let mut trailers = Fields::new();
                    loop {
                        let line = self.line().await?;
                        if line.is_empty() {
                            return Ok((body, trailers));
                        }
                        trailers.push(split_field(&line));
                    }
                }
                while self.buffer.len() < size + 2 {
                    self.more().await?;
                }
                body.extend(self.buffer.drain(..size));
                if self.buffer.drain(..2).ne(*b"\r\n") {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "end of a chunk"));
                }
            },
        }
        Ok((body, Fields::new()))
    }

    /// Reads bytes as they come, for a connection that has become a tunnel.
    pub(crate) async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        Ok(self.body(Framing::Length(length)).await?.0)
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).take(at).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            self.more().await?;
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn split_field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name.to_owned(), value.trim().to_owned())
}
