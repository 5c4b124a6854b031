use crate::{
    clock::Nanos,
    server::{Report, Try},
};

/// An event at a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Arrival,
    /// An attempt reaches its server.
    AtServer(Try),
    Completion {
        server: u32,
        generation: u32,
    },
    /// An attempt ends whose time does not depend on other work of the server.
    Done {
        number: Try,
        failed: bool,
    },
    /// A response reaches the client.
    Answer {
        number: Try,
        failed: bool,
    },
    Timeout(Try),
    CancelAtServer(Try),
    Hedge(u32),
    /// A request has waited for a probe for the longest allowed time.
    HeldLong(u32),
    ProbeAtServer {
        client: u32,
        number: u32,
        server: u32,
    },
    ProbeAnswer {
        client: u32,
        number: u32,
    },
    Change(u32),
    Capacity(u32),
    Stall(u32),
    StallEnds(u32),
}

/// A request of a client, and its attempts.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) client: u32,
    pub(super) arrived: Nanos,
    pub(super) work: f64,
    pub(super) tries: u32,
    /// The servers of all attempts so far.
    pub(super) tried: Vec<u32>,
    pub(super) in_flight: Vec<Try>,
    pub(super) open: bool,
}

/// An attempt at one server.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) request: u32,
    pub(super) server: u32,
    /// Requests in flight at the server when the attempt arrived.
    pub(super) found: u32,
    pub(super) came: Nanos,
    pub(super) at_server: bool,
    /// Whether the client still waits for the attempt.
    pub(super) open: bool,
    pub(super) report: Report,
}
