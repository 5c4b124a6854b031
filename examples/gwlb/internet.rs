//! An end of the gateway with hosts behind it, which return what they get.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv4Addr},
    task::{Context, Poll},
};

use bytes::Bytes;
use etherparse::{IpNumber, PacketBuilder};
use tower_lb::geneve::{Packet, PacketEnd, Written};

/// Packets to hosts of the internet are answered, and the answers enter the gateway like the
/// packets of the inner end. All others go to the inner end, where the client is.
pub(crate) struct Internet<E> {
    client: Ipv4Addr,
    end: E,
    answers: VecDeque<Bytes>,
}

impl<E> Internet<E> {
    pub(crate) fn new(client: Ipv4Addr, end: E) -> Self {
        Self { client, end, answers: VecDeque::new() }
    }
}

impl<E: PacketEnd> PacketEnd for Internet<E> {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        match self.answers.pop_front() {
            Some(answer) => Poll::Ready(Ok(Some(answer))),
            None => self.end.poll_read(cx),
        }
    }

    // The gateway reads again after it has written, so the answer needs no waker.
    fn write(&mut self, packet: Bytes) -> io::Result<Written> {
        let parsed = Packet::parse(packet.clone()).ok();
        if parsed.as_ref().is_some_and(|packet| packet.destination() == self.client) {
            return self.end.write(packet);
        }
        self.answers.extend(parsed.as_ref().and_then(echo));
        Ok(Written::Taken)
    }
}

/// The datagram that a host returns.
fn echo(packet: &Packet) -> Option<Bytes> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (packet.source(), packet.destination())
    else {
        return None;
    };
    if packet.protocol() != IpNumber::UDP.0 {
        return None;
    }
    let ports = (packet.source_port()?, packet.destination_port()?);
    Some(datagram((destination, ports.1), (source, ports.0), packet.payload()))
}

/// Builds a UDP datagram.
pub(crate) fn datagram(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> Bytes {
    let packet = PacketBuilder::ipv4(from.0.octets(), to.0.octets(), 64).udp(from.1, to.1);
    let mut bytes = Vec::with_capacity(packet.size(payload.len()));
    packet.write(&mut bytes, payload).expect("a short payload fits into a datagram");
    bytes.into()
}
