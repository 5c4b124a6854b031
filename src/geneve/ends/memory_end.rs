use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};

use super::{PacketEnd, Written};

/// One of two ends in memory: packets that are written to one are read from the other.
///
/// The other end is gone once it is dropped. Packets that it has written before are still read.
#[derive(Debug)]
pub struct MemoryEnd {
    outgoing: Sender<Bytes>,
    incoming: Receiver<Bytes>,
}

/// Returns two ends that are connected with each other. Each holds up to `capacity` packets that
/// the other one has not read, at least 1; packets beyond are dropped.
#[must_use]
pub fn memory_ends(capacity: usize) -> (MemoryEnd, MemoryEnd) {
    let (first, second) = (channel(capacity.max(1)), channel(capacity.max(1)));
    let one = MemoryEnd { outgoing: first.0, incoming: second.1 };
    (one, MemoryEnd { outgoing: second.0, incoming: first.1 })
}

impl MemoryEnd {
    /// Waits for the next packet. Returns `None` if the other end is gone.
    pub async fn recv(&mut self) -> Option<Bytes> {
        self.incoming.recv().await
    }

    /// Writes a packet. It is dropped if the other end has no room or is gone.
    pub fn send(&self, packet: Bytes) -> Written {
        match self.outgoing.try_send(packet) {
            Ok(()) => Written::Taken,
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => Written::Dropped,
        }
    }
}

impl PacketEnd for MemoryEnd {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        Poll::Ready(Ok(ready!(self.incoming.poll_recv(cx))))
    }

    fn write(&mut self, packet: Bytes) -> io::Result<Written> {
        Ok(self.send(packet))
    }
}
