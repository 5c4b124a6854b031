//! What operators see of the balancers of a program.

#[cfg(feature = "dashboard")]
pub mod dashboard;

#[cfg(feature = "dashboard")]
pub use self::dashboard::Dashboard;
