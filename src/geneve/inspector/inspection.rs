use std::{
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use crate::geneve::{Header, Packet};

pin_project_lite::pin_project! {
    /// A packet that the service decides about.
    pub(super) struct Inspection<F> {
        #[pin]
        decision: F,
        // Taken when it is over.
        origin: Option<Origin>,
    }
}

/// Where a packet came from, and with which header.
pub(super) struct Origin {
    pub(super) header: Header,
    pub(super) from: SocketAddr,
}

/// What the service has decided, and where the packet came from.
pub(super) struct Decided<E> {
    pub(super) decision: Result<Option<Packet>, E>,
    pub(super) origin: Option<Origin>,
}

impl<F> Inspection<F> {
    pub(super) fn new(decision: F, origin: Origin) -> Self {
        Self { decision, origin: Some(origin) }
    }
}

impl<F: Future<Output = Result<Option<Packet>, E>>, E> Future for Inspection<F> {
    type Output = Decided<E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Decided<E>> {
        let this = self.project();
        let decision = ready!(this.decision.poll(cx));
        Poll::Ready(Decided { decision, origin: this.origin.take() })
    }
}
