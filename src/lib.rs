//! WIP
#![forbid(unsafe_code)]

pub mod balance;
pub mod discover;
pub mod endpoint;
mod error;
#[cfg(feature = "http")]
pub mod http;
pub mod load;
pub mod outcome;
pub mod strategy;
mod sync;

pub use self::{
    balance::Balancer,
    error::{BoxError, Error},
};
