//! Endpoints from Consul: [`Consul`] asks, `entry` reads what an instance is.

#[allow(clippy::module_inception)]
mod consul;
mod entry;

pub use self::consul::Consul;
