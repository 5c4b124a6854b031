use std::{
    fmt, io,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use tun_rs::AsyncDevice;

use super::{PacketEnd, Written};

/// A tun device as an end: the packets that the kernel routes to the device enter the gateway, and
/// what the appliances let pass goes back to the kernel, which routes it on.
///
/// The device is of layer 3 (tun, not tap), without offload and without packet information, as
/// `tun_rs::DeviceBuilder` makes it by default. Creating it needs the capability `CAP_NET_ADMIN`.
pub struct TunEnd {
    device: AsyncDevice,
    /// A packet is read into this, and then copied into a buffer of its own length: the device
    /// needs room for the longest packet, which most are not.
    scratch: Box<[u8]>,
    buffer: BytesMut,
}

/// The most bytes that an IP packet has.
const MAX_PACKET: usize = 65_535;
/// Packets share buffers of this size, so that most need no allocation.
const BUFFER: usize = 64 * 1024;

impl TunEnd {
    /// Creates an end of a device.
    #[must_use]
    pub fn new(device: AsyncDevice) -> Self {
        let scratch = vec![0; MAX_PACKET].into_boxed_slice();
        Self { device, scratch, buffer: BytesMut::new() }
    }

    /// Returns the device.
    #[must_use]
    pub fn device(&self) -> &AsyncDevice {
        &self.device
    }
}

impl PacketEnd for TunEnd {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let length = ready!(self.device.poll_recv(cx, &mut self.scratch))?;
        if self.buffer.capacity() < length {
            self.buffer.reserve(BUFFER);
        }
        self.buffer.extend_from_slice(&self.scratch[..length]);
        Poll::Ready(Ok(Some(self.buffer.split().freeze())))
    }

    fn write(&mut self, packet: Bytes) -> io::Result<Written> {
        // Not `poll_send`, which reports no room once the task has used up its cooperative budget.
        match self.device.try_send(&packet) {
            Ok(_) => Ok(Written::Taken),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Written::Dropped),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for TunEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunEnd").finish_non_exhaustive()
    }
}
