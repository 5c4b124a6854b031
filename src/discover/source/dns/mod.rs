//! Endpoints from DNS: [`Dns`] asks, `answer` reads what comes back.

mod answer;
#[allow(clippy::module_inception)]
mod dns;
mod error;
mod family;

pub use self::{dns::Dns, error::DnsError, family::Family};
