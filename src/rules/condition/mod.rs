//! Conditions: what a request must be for a rule to apply.
//!
//! - `condition`: the specification that users write, [`Condition`].
//! - `pattern` and `wildcard`: texts with wildcards, and regular expressions.
//! - `compile`: from a specification to a `Test`, with errors that name the path.
//! - `test` and `leaf`: the compiled form, written once over an `Observe`.
//! - `observe`: `Silent`, which compiles to nothing, for requests; the other one explains.
//! - `request_view`: what conditions read of a request.

mod compile;
#[allow(clippy::module_inception, reason = "named by the type")]
mod condition;
mod leaf;
mod observe;
mod pattern;
mod request_view;
mod test;
mod wildcard;

#[cfg(test)]
pub(super) use self::wildcard::steps;
pub(super) use self::{
    compile::compile_conditions,
    leaf::Leaf,
    observe::{Observe, Silent},
    pattern::{Case, TextMatcher, compile as compile_regex},
    request_view::{MAX_HOST_BYTES, RequestView, is_host, request_host},
    test::{Test, are_contradictory},
    wildcard::Unit,
};
pub use self::{
    condition::{Condition, QueryPattern},
    pattern::Pattern,
};
