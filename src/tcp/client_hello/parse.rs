//! The first message of a TLS handshake (RFC 8446, 4.1.2), which may come in several records.

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// The beginning of a ClientHello, or nothing yet.
    Incomplete,
    /// No ClientHello, or a malformed one.
    Other,
    Hello(ClientHello),
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ClientHello {
    /// In lower case.
    pub(super) server_name: Option<Box<str>>,
    pub(super) alpn: Vec<Box<[u8]>>,
}

/// The content type and the handshake type.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// RFC 8446, 5.1. Records before the handshake is complete are not encrypted.
const MAX_RECORD_BYTES: usize = 1 << 14;
/// The types of extensions.
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
/// The type of a server name.
const HOST_NAME: u8 = 0;
/// RFC 1035, 2.3.4.
const MAX_NAME_BYTES: usize = 255;

/// Looks at the first bytes of a connection.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    match handshake(bytes) {
        Ok(message) => message_of(&message),
        Err(parsed) => parsed,
    }
}

/// For the fuzz targets: returns the server name and the protocols of a ClientHello; `None` if
/// `bytes` are the beginning of one, and an error if they are something else.
#[cfg(tower_lb_fuzz)]
pub fn parse_client_hello(
    bytes: &[u8],
) -> Result<Option<(Option<Box<str>>, Vec<Box<[u8]>>)>, &'static str> {
    match parse(bytes) {
        Parsed::Incomplete => Ok(None),
        Parsed::Other => Err("no ClientHello"),
        Parsed::Hello(ClientHello { server_name, alpn }) => Ok(Some((server_name, alpn))),
    }
}

/// Returns the fragments of the handshake that are there, one after the other, without the heads of
/// records. An error if the bytes are no handshake.
fn handshake(bytes: &[u8]) -> Result<Vec<u8>, Parsed> {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        // Checked byte by byte, so that another protocol is recognised early.
        if rest.first().is_some_and(|&kind| kind != HANDSHAKE)
            || rest.get(1).is_some_and(|&major| major != 3)
        {
            return Err(Parsed::Other);
        }
        let Some((&[_, _, _, high, low], after)) = rest.split_first_chunk() else {
            break;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !(1..=MAX_RECORD_BYTES).contains(&length) {
            return Err(Parsed::Other);
        }
        let (fragment, next) = after.split_at(length.min(after.len()));
        message.extend_from_slice(fragment);
        // Records after the message are of no interest, and a client sends none.
        if fragment.len() < length || is_complete(&message) {
            break;
        }
        rest = next;
    }
    Ok(message)
}

fn is_complete(message: &[u8]) -> bool {
    let mut reader = Reader(message);
    reader.u8().and_then(|_| reader.u24()).is_some_and(|length| reader.0.len() >= length)
}

fn message_of(message: &[u8]) -> Parsed {
    if message.first().is_some_and(|&kind| kind != CLIENT_HELLO) {
        return Parsed::Other;
    }
    if !is_complete(message) {
        return Parsed::Incomplete;
    }
    let mut reader = Reader(message);
    let body = reader.u8().and_then(|_| reader.u24()).and_then(|length| reader.take(length));
    body.and_then(hello).map_or(Parsed::Other, Parsed::Hello)
}

/// Returns what a complete ClientHello says; `None` if it is malformed.
fn hello(body: &[u8]) -> Option<ClientHello> {
    let mut reader = Reader(body);
    let _version_and_random = reader.take(2 + 32)?;
    let _session_id = reader.list8()?;
    let _cipher_suites = reader.list16()?;
    let _compression_methods = reader.list8()?;
    let mut hello = ClientHello::default();
    // The extensions are missing in old handshakes.
    if reader.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = Reader(reader.list16()?);
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let value = extensions.list16()?;
        match kind {
            SERVER_NAME if hello.server_name.is_none() => hello.server_name = server_name(value)?,
            ALPN if hello.alpn.is_empty() => hello.alpn = alpn(value)?,
            _ => {}
        }
    }
    Some(hello)
}

/// Returns the host name in an extension, without a dot at its end; an inner `None` if it has none.
fn server_name(value: &[u8]) -> Option<Option<Box<str>>> {
    let mut names = Reader(Reader(value).list16()?);
    while !names.0.is_empty() {
        let kind = names.u8()?;
        let name = names.list16()?;
        if kind == HOST_NAME {
            let name = std::str::from_utf8(name).ok()?.trim_end_matches('.');
            let is_name = (1..=MAX_NAME_BYTES).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_graphic());
            return is_name.then(|| Some(name.to_ascii_lowercase().into()));
        }
    }
    Some(None)
}

fn alpn(value: &[u8]) -> Option<Vec<Box<[u8]>>> {
    let mut names = Reader(Reader(value).list16()?);
    let mut protocols = Vec::new();
    while !names.0.is_empty() {
        protocols.push(names.list8()?.into());
    }
    Some(protocols)
}

/// Takes numbers and lists from the front of bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u24(&mut self) -> Option<usize> {
        let bytes = self.take(3)?;
        Some(usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]))
    }

    fn list8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }

    fn list16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list16(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
    }

    fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &list16(value)].concat()
    }

    fn name(name: &str) -> Vec<u8> {
        extension(SERVER_NAME, &list16(&[&[HOST_NAME][..], &list16(name.as_bytes())].concat()))
    }

    /// A message, with its head.
    fn message(extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
        body.extend(list16(extensions));
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[CLIENT_HELLO][..], &length[1..], &body].concat()
    }

    /// In records of at most `length` bytes.
    fn records(message: &[u8], length: usize) -> Vec<u8> {
        let record = |part| [&[HANDSHAKE, 3, 1][..], &list16(part)].concat();
        message.chunks(length).flat_map(record).collect()
    }

    fn hello(bytes: &[u8]) -> ClientHello {
        match parse(bytes) {
            Parsed::Hello(hello) => hello,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_and_protocols_are_found_in_any_records() {
        let protocols = extension(ALPN, &list16(b"\x02h2\x08http/1.1"));
        let post_quantum = extension(51, &[9; 9000]);
        let message = message(&[post_quantum, name("Shop.Example."), protocols].concat());
        for length in [1, 3, 100, 16_000] {
            let bytes = records(&message, length);
            let hello = hello(&bytes);
            assert_eq!(hello.server_name.as_deref(), Some("shop.example"));
            assert_eq!(hello.alpn, [Box::from(*b"h2") as Box<[u8]>, Box::from(*b"http/1.1")]);
            // Each part of it is the beginning of a hello.
            for end in (0..bytes.len()).step_by(bytes.len().div_ceil(50)) {
                assert_eq!(parse(&bytes[..end]), Parsed::Incomplete, "{end} of {length}");
            }
        }
    }

    #[test]
    fn a_hello_may_have_no_name() {
        assert_eq!(hello(&records(&message(&[]), 1000)), ClientHello::default());
        let other = extension(SERVER_NAME, &list16(&[&[5][..], &list16(b"a")].concat()));
        assert_eq!(hello(&records(&message(&other), 1000)), ClientHello::default());
    }

    #[test]
    fn other_protocols_are_recognised_at_the_first_byte_that_differs() {
        for bytes in [&b"G"[..], b"SSH-2.0", &[22, 2], &[22, 3, 1, 0, 0], &[22, 3, 1, 0x40, 1]] {
            assert_eq!(parse(bytes), Parsed::Other, "{bytes:?}");
        }
        // A ServerHello.
        assert_eq!(parse(&[22, 3, 3, 0, 4, 2]), Parsed::Other);
        for bad in [name("a b"), name(""), name(&"a".repeat(256)), vec![0, 0, 0, 9]] {
            assert_eq!(parse(&records(&message(&bad), 1000)), Parsed::Other);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
            let _ = parse(&records(&[&[CLIENT_HELLO, 0, 0][..], &bytes].concat(), 50));
        }

        #[test]
        fn a_changed_byte_does_not_make_it_panic(at in 0..1000_usize, byte: u8) {
            let mut bytes = records(&message(&name("shop.example")), 20);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = parse(&bytes);
        }
    }
}
