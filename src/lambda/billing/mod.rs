//! What invocations cost: billed time, memory and cold starts, from the functions' logs.
//!
//! `report.rs` reads the line that Lambda adds to the log of each invocation.

mod report;
mod service;
mod status;

pub use self::{
    service::{Billing, BillingFuture, BillingLayer},
    status::BillingStatus,
};
