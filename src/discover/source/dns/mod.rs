//! Endpoints from DNS: [`Dns`] configures the source and looks records up, `host` keeps the last
//! addresses of a host, `answer` turns records into endpoints.

mod answer;
#[allow(clippy::module_inception)]
mod dns;
mod error;
mod family;
mod host;

pub use self::{dns::Dns, family::Family};
