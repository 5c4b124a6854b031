//! Sends copies of a share of the requests to another service.

mod driver;
mod service;

pub use self::{
    driver::ShadowDriver,
    service::{Shadow, ShadowCounts},
};
