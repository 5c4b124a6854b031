//! Writes, reads and requests the load reports of HTTP servers.
//!
//! [`ReportLoad`] writes the header of `in_flight_header`, with a latency from `latency_by_load`.
//! [`load_probe`] asks an endpoint for the header. `permits_header` reads the number of requests
//! that a server permits. With feature `orca`, `orca` reads ORCA reports.

pub(super) mod in_flight_header;
mod latency_by_load;
mod load_probe;
#[cfg(feature = "orca")]
mod orca;
pub(super) mod permits_header;
mod report_load;

#[cfg(feature = "http-client")]
pub(super) use self::load_probe::ask;
#[cfg(feature = "orca")]
pub use self::orca::load_report;
pub use self::{
    in_flight_header::IN_FLIGHT,
    load_probe::load_probe,
    permits_header::PERMITS,
    report_load::{Counted, ReportLoad, ReportLoadFuture, ReportLoadLayer},
};
