//! Explanations of picks: which candidates there were, what excluded the others, and why the one
//! that was picked won.
//!
//! A picker is written once, over an `Observe`. [`Pick::pick`](super::Pick::pick) runs it with
//! `Silent`, which compiles to nothing, and [`Pick::explain`](super::Pick::explain) with an
//! [`Explainer`]. So the two cannot choose differently.
//!
//! - `explanation`: the result, a plain value, and `display`, its text.
//! - `explainer`: what pickers tell, and how it becomes an [`Explanation`].
//! - `tree`: the steps and parts of a pick, and which of them excluded a candidate.
//! - `observe`: the two observers of a pick. `observed_pick!` implements `Pick` by them.
//! - `rule`: what a wrapper that has no picker did when it was built.
//! - `explained`: the wrapper that logs a share of the picks.

mod display;
mod explained;
mod explainer;
mod explanation;
mod observe;
mod rule;
mod tree;

pub(crate) use self::{
    display::Brief,
    explainer::{Purpose, explain},
    observe::{Observe, Silent, observed_pick},
    rule::{Rule, Rules},
};
pub use self::{
    explained::Explained,
    explainer::Explainer,
    explanation::{ExplainedCandidate, ExplainedStep, Explanation, PickOutcome, Standing},
};
