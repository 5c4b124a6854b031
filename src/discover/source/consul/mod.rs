//! Endpoints from Consul: [`Consul`] sends the blocking queries, `entry` parses the instances.

#[allow(clippy::module_inception)]
mod consul;
mod entry;

pub use self::consul::Consul;
