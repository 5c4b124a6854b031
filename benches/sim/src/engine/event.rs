use crate::{
    clock::Nanos,
    server::{Report, Try},
};

/// Something that happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Arrival,
    /// A try reaches its server.
    AtServer(Try),
    Completion {
        server: u32,
        generation: u32,
    },
    /// A try is over whose time doesn't depend on the server's other work.
    Done {
        number: Try,
        failed: bool,
    },
    /// An answer reaches the client.
    Answer {
        number: Try,
        failed: bool,
    },
    Timeout(Try),
    CancelAtServer(Try),
    Hedge(u32),
    /// A request has waited for a probe as long as it may.
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

/// A request of a client, and its tries.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) client: u32,
    pub(super) arrived: Nanos,
    pub(super) work: f64,
    pub(super) tries: u32,
    /// Its servers so far.
    pub(super) tried: Vec<u32>,
    pub(super) in_flight: Vec<Try>,
    pub(super) open: bool,
}

/// A try, at one server.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) request: u32,
    pub(super) server: u32,
    /// In flight at the server when it came.
    pub(super) found: u32,
    pub(super) came: Nanos,
    pub(super) at_server: bool,
    /// The client still waits for it.
    pub(super) open: bool,
    pub(super) report: Report,
}
