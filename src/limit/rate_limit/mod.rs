//! A limit on the number of requests per second.

mod future;
mod layer;
mod meter;
mod service;

use self::meter::Meter;
pub use self::{future::RateLimitFuture, layer::RateLimitLayer, service::RateLimit};
use super::Rejected;
