//! Writes, reads and requests the load reports of HTTP servers.
//!
//! [`ReportLoad`] writes the header of `in_flight_header`, with a latency from `latency_by_load`.
//! [`load_probe`] asks an endpoint for the header. With feature `orca`, `orca` reads ORCA reports.

pub(super) mod in_flight_header;
mod latency_by_load;
mod load_probe;
#[cfg(feature = "orca")]
mod orca;
mod report_load;

#[cfg(feature = "http-client")]
pub(super) use self::load_probe::ask;
#[cfg(feature = "orca")]
pub use self::orca::load_report;
pub use self::{
    in_flight_header::IN_FLIGHT,
    load_probe::load_probe,
    report_load::{Counted, ReportLoad, ReportLoadFuture, ReportLoadLayer},
};
