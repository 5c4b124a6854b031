//! A limit on the number of requests per second.

mod service;

pub use self::service::{RateLimit, RateLimitFuture, RateLimitLayer};
use super::Rejected;
