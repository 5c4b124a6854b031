//! Sends a share of the requests to another service.

mod future;
mod layer;
mod service;
mod sticky_key;

pub use self::{future::CanaryFuture, layer::CanaryLayer, service::Canary, sticky_key::StickyKey};
