use std::{fmt, io, net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    ParseError, ProxyHeader,
    parse::{Parsed, parse},
};
use crate::{ConfigError, listener::connection::ClientStream};

/// Expects a PROXY header, version 1 or 2, at the beginning of each connection of a
/// [`Socket`](crate::listener::Socket).
///
/// - A connection without a valid header is closed: its presence is never guessed.
/// - Only peers in trusted networks are believed; connections of all others are closed. Whether a
///   peer is trusted is decided by the address of the socket. A peer that forwards the bytes of its
///   clients without a header of its own lets them write one, so it must not be trusted.
/// - On a Unix socket every peer is trusted: the permissions of the file decide who can connect.
/// - The checksum of a version 2 header is verified if it has one.
/// - `LOCAL` (version 2) and `UNKNOWN` (version 1), which health checks use, keep the addresses of
///   the socket. Addresses of Unix sockets and of UDP are refused.
#[derive(Clone, Debug)]
pub struct ProxyProtocol {
    trusted: Vec<IpNet>,
    pub(in crate::listener) timeout: Duration,
    max_bytes: usize,
}

/// A header of version 2 cannot be longer: 16 bytes, and a length of 16 bits.
const LONGEST_HEADER: usize = 16 + u16::MAX as usize;
/// A shorter limit would refuse headers of version 1.
const SHORTEST_LIMIT: usize = 107;

impl ProxyProtocol {
    /// Believes the headers of peers in these networks. `0.0.0.0/0` and `::/0` believe everyone.
    ///
    /// # Errors
    ///
    /// If there is no network.
    pub fn trusting(networks: impl IntoIterator<Item = IpNet>) -> Result<Self, ConfigError> {
        let trusted: Vec<_> = networks.into_iter().collect();
        if trusted.is_empty() {
            return Err(ConfigError::new("trusting", "at least one network"));
        }
        Ok(Self { trusted, timeout: Duration::from_secs(5), max_bytes: 4096 })
    }

    setters! {
        /// Limits the time until the header is complete. Default 5 s.
        pub fn timeout(time: Duration) => timeout = time;
        /// Limits the length of the header, from 107 bytes to 65 551. Default 4096.
        pub fn max_bytes(bytes: usize) => max_bytes = bytes;
    }

    pub(in crate::listener) fn check(&self) -> Result<(), ConfigError> {
        ConfigError::if_zero_time("timeout", self.timeout)?;
        ConfigError::unless(
            (SHORTEST_LIMIT..=LONGEST_HEADER).contains(&self.max_bytes),
            "max_bytes",
            self.max_bytes,
            "107 to 65551",
        )
    }

    /// Returns whether headers of this peer are believed.
    pub(in crate::listener) fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted.iter().any(|network| network.contains(&peer))
    }

    /// Reads the header, and leaves what follows it in the stream.
    pub(in crate::listener) async fn receive(
        &self,
        stream: &mut ClientStream,
    ) -> Result<ProxyHeader, ReceiveError> {
        loop {
            match parse(stream.ahead(), self.max_bytes)? {
                Parsed::Header(header, length) => {
                    stream.consume(length);
                    return Ok(header);
                }
                Parsed::Incomplete => {}
            }
            if stream.read_ahead().await? == 0 {
                let nothing = stream.ahead().is_empty();
                return Err(if nothing { ReceiveError::Silent } else { ReceiveError::Truncated });
            }
        }
    }
}

/// Why no header was received.
#[derive(Debug)]
pub(in crate::listener) enum ReceiveError {
    /// The peer has closed without a byte, as health checks do that only connect.
    Silent,
    /// The peer has closed within the header.
    Truncated,
    Invalid(ParseError),
    Io(io::Error),
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("the peer has closed without a byte"),
            Self::Truncated => f.write_str("the peer has closed within the PROXY header"),
            Self::Invalid(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl From<ParseError> for ReceiveError {
    fn from(error: ParseError) -> Self {
        Self::Invalid(error)
    }
}

impl From<io::Error> for ReceiveError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
