use bytes::Bytes;

use crate::{
    flow::FlowKey,
    geneve::packet::{Ends, TcpSegment, reset},
};

/// What the gateway knows of a TCP connection: enough to reset it, and to see that it is closed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TcpState {
    /// The side that the flow's key names as the source, and the other one.
    sides: [Side; 2],
    is_reset: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// The sequence number that it expects next: its highest acknowledgment.
    expects: Option<u32>,
    /// The sequence number after the last byte that it has sent.
    sent: Option<u32>,
    has_finished: bool,
}

impl TcpState {
    /// Records a segment. `from_source` tells whether it comes from the side that the flow's key
    /// names as the source.
    pub(super) fn observe(&mut self, segment: &TcpSegment, from_source: bool) {
        if segment.opens() {
            // The ports may be used for another connection.
            *self = Self::default();
        }
        let [source, destination] = &mut self.sides;
        let (sender, receiver) =
            if from_source { (source, destination) } else { (destination, source) };
        if segment.flags.rst {
            // Others would let a forged packet shorten the life of the flow.
            self.is_reset |= match receiver.expects {
                Some(expected) => segment.sequence == expected,
                // The receiver has only sent its SYN, which the reset acknowledges (RFC 9293,
                // section 3.10.7.3).
                None => segment.flags.ack && receiver.sent == Some(segment.acknowledgment),
            };
            return;
        }
        sender.has_finished |= segment.flags.fin;
        raise(&mut sender.sent, segment.end());
        if segment.flags.ack {
            raise(&mut sender.expects, segment.acknowledgment);
        }
    }

    /// Returns true if both sides have finished, or if the connection was reset.
    pub(super) fn is_closed(&self) -> bool {
        self.is_reset || self.sides.iter().all(|side| side.has_finished)
    }

    /// Builds a reset for each side that is known. `key` is the flow's.
    pub(super) fn resets(&self, key: &FlowKey) -> impl Iterator<Item = Bytes> + use<> {
        let ends = |source: std::net::SocketAddr, destination: std::net::SocketAddr| Ends {
            source: (source.ip(), source.port()),
            destination: (destination.ip(), destination.port()),
        };
        let to_destination = ends(key.source(), key.destination());
        let [source, destination] = self.sides;
        let is_closed = self.is_closed();
        let both = [(source, to_destination.reversed()), (destination, to_destination)];
        both.into_iter().filter(move |_| !is_closed).filter_map(|(side, ends)| side.reset(ends))
    }
}

impl Side {
    /// Builds the reset that this side accepts, from `ends.source` to it.
    fn reset(&self, ends: Ends) -> Option<Bytes> {
        match (self.expects, self.sent) {
            (Some(expected), _) => reset(ends, expected, None),
            // It has only sent its SYN, which the reset acknowledges.
            (None, Some(sent)) => reset(ends, 0, Some(sent)),
            (None, None) => None,
        }
    }
}

/// Sets a sequence number to a later one; they wrap around.
fn raise(number: &mut Option<u32>, to: u32) {
    if number.is_none_or(|before| (to.wrapping_sub(before) as i32) > 0) {
        *number = Some(to);
    }
}
