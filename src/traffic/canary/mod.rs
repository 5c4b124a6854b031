//! Sends a share of the requests to another service.

mod service;

pub use self::service::{Anyone, ByKey, Canary, CanaryFuture, CanaryLayer, Key};
