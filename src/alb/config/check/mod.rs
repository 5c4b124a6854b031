//! The check of a whole configuration: all problems at once, each with its path.
//!
//! | what | file |
//! |---|---|
//! | which problems are accepted, and what a checked configuration offers | `accept`, `checked` |
//! | where a problem is | `at` |
//! | the load balancer and its attributes | `load_balancer` |
//! | ports, certificates, priorities | `listener` |
//! | conditions and transforms | `condition`, `transform` |
//! | actions, and what comes before them | `action`, `authenticate` |
//! | redirects that lead back to themselves | `redirect_loop` |
//! | target groups, health checks, resilience | `target_group`, `resilience` |
//! | what names stand for | `bindings` |

mod accept;
mod action;
mod at;
mod authenticate;
mod bindings;
mod checked;
mod condition;
mod glob;
mod listener;
mod load_balancer;
mod redirect_loop;
mod resilience;
mod target_group;
mod transform;

pub use self::{accept::Check, checked::Checked};
