//! What an Application Load Balancer does with each request and response, besides the rules.
//!
//! [`RequestEdge`] is inside of [`http::Proxy`](crate::http::Proxy), so it sees one form of all
//! requests; [`ListenerEdge`] is outside of everything, so it sees the responses of all parts.
//!
//! | question | file |
//! |---|---|
//! | which requests are refused? | `refusal`, `filter` |
//! | what is the response to a failure? | `errors` |
//! | what does the target learn about the client? | `forwarded`, `host`, `trace_id` |
//! | what do the attributes of a listener change? | `listener` |
//! | how many responses had which status? | `responses` |
//!
//! Source: the load balancer and listener attributes of the API reference, and the user guide on
//! header processing and on errors.

mod errors;
mod filter;
mod forwarded;
mod host;
mod listener;
mod refusal;
mod request;
mod responses;
mod trace_id;

pub use self::responses::Responses;
#[cfg(tower_lb_fuzz)]
pub use self::trace_id::mark_for_tracing;
pub(super) use self::{
    errors::{ErrorResponses, ErrorResponsesLayer},
    filter::RequestFilter,
    forwarded::ClientAddress,
    listener::{ListenerEdge, ListenerEdgeLayer, ListenerSettings},
    request::{RequestEdge, RequestEdgeLayer, RequestSettings},
    responses::ResponseCounters,
};
