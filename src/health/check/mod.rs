#[allow(clippy::module_inception)]
mod check;
#[cfg(feature = "http")]
mod exchange;
#[cfg(feature = "http")]
mod grpc_check;
mod health_check;
mod health_checked;
#[cfg(feature = "http")]
mod http_check;
mod level;
#[cfg(feature = "tcp-check")]
mod tcp_check;

#[cfg(feature = "tcp-check")]
pub use self::tcp_check::TcpCheck;
pub use self::{
    check::Check,
    health_check::{HealthCheck, InitialState},
    health_checked::HealthChecked,
};
#[cfg(feature = "http")]
pub use self::{grpc_check::GrpcCheck, http_check::HttpCheck};
