use std::{
    io,
    task::{Context, Poll},
};

use bytes::Bytes;

/// Where packets enter and leave a [`Gateway`](crate::geneve::Gateway): a network, as the gateway
/// sees it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an end of a network that packets enter and leave by",
    note = "use `geneve::memory_ends`, `geneve::TunEnd` or an implementation of `PacketEnd`"
)]
pub trait PacketEnd {
    /// Polls for the next packet, which begins with its IP header. `None` means that the network is
    /// gone and no packet will come.
    ///
    /// # Errors
    ///
    /// An error ends the gateway. An error that concerns one packet must be skipped.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>>;

    /// Writes a packet. It never waits: a network without room drops the packet.
    ///
    /// # Errors
    ///
    /// An error drops this packet, and the gateway goes on.
    fn write(&mut self, packet: Bytes) -> io::Result<Written>;
}

/// What became of a packet that was written to a [`PacketEnd`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The network has taken it.
    Taken,
    /// There was no room for it.
    Dropped,
}
