//! Actions: what becomes of a request that a rule matches.
//!
//! - `action`: the service that is one of the three, and `future`.
//! - `forward`: groups of endpoints by weight; `group_draw` draws one.
//! - `redirect`: another URL, from the `template`s of its components.
//! - `fixed_response`: a response of its own.

#[allow(clippy::module_inception, reason = "named by the type")]
mod action;
mod fixed_response;
mod forward;
mod future;
mod group_draw;
mod redirect;
mod template;

pub use self::{
    action::Action,
    fixed_response::{FixedResponse, FixedResponseBuilder},
    forward::{Forward, ForwardBuilder, GroupStatus},
    future::ActionFuture,
    redirect::{Redirect, RedirectBuilder},
};
