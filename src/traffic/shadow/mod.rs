//! Sends copies of a share of the requests to another service.

mod service;

pub use self::service::{Shadow, ShadowCounts, ShadowDriver};
