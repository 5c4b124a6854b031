use std::{
    sync::Arc,
    task::{Context, Poll},
};

use super::{Candidate, Candidates, PickContext};
use crate::outcome::Meter;

/// Builds a picker from the candidates, at each change, off the path of requests.
///
/// It lives in the driver and may keep state between pickers. A strategy that wraps another
/// partitions or filters the candidates and lets the inner one build pickers over the parts.
pub trait Strategy {
    /// What chooses for each request; see [`Pick`].
    type Picker;

    /// A picker over these candidates. Called at each change of the endpoints, with all of them.
    fn picker(&mut self, candidates: &Candidates) -> Self::Picker;

    /// What learns from finished attempts. Called once for each new endpoint. Default: nothing
    /// does. A wrapper passes on what its inner strategy says.
    fn meter(&self) -> Option<Arc<dyn Meter>> {
        None
    }

    /// The candidates that requests may go to, after the rules of this strategy: what `poll_ready`
    /// and requests that wait go by. Asked for after each new picker. Default: the eligible ones. A
    /// wrapper that admits others, or turns eligible ones away for all requests, says so here; one
    /// that hands parts to an inner strategy passes on what that says.
    fn eligible(&self, candidates: &Candidates) -> Candidates {
        candidates.clone()
    }

    /// What people should know of its present state, a line each: that a panic rule holds, for
    /// example. Asked for after each new picker, and shown in the balancer's
    /// [`status`](crate::Balancer::status). Default: nothing. A wrapper passes on what its inner
    /// strategy says.
    fn notices(&self) -> Vec<String> {
        Vec::new()
    }

    /// Work of its own between requests, polled by the driver: `Ready(Some(()))` asks for a new
    /// picker over the same candidates, `Ready(None)` says that there is and will be no such work.
    /// Default: there is none.
    fn poll_update(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let _ = cx;
        Poll::Ready(None)
    }
}

/// Chooses a candidate for one request.
///
/// Runs in the balancer's `call`: it must not block, should not allocate, and reads neither clock
/// nor generator but through the context.
pub trait Pick<Req> {
    /// The candidate that gets the request, one of those the picker was built from.
    ///
    /// A good picker chooses one that the context [accepts](PickContext::accepts), if there is one:
    /// endpoints without a free slot or tried before are not. `None` turns the request away: it
    /// waits if there is no candidate with room, and fails as
    /// [`Error::Refused`](crate::Error::Refused) otherwise.
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate>;
}
