//! Active health checks: requests or connections that find out whether an endpoint is healthy.
//!
//! - `check`: the trait [`Check`]; `http_check`, `grpc_check`, `grpc_call` and `tcp_check`
//!   implement it. `exchange` sends the request of the first three.
//! - `health_check`: the settings.
//! - `health_checked`: the stream, which schedules the checks.
//! - `check_status`: the figures.
//! - `level`: the counter that turns passes and failures into a state.

#[allow(clippy::module_inception)]
mod check;
mod check_status;
#[cfg(feature = "http")]
mod exchange;
#[cfg(feature = "http")]
mod grpc_call;
#[cfg(feature = "http")]
mod grpc_check;
mod health_check;
mod health_checked;
#[cfg(feature = "http")]
mod http_check;
mod level;
#[cfg(feature = "tcp-check")]
mod tcp_check;
#[cfg(feature = "http")]
mod unexpected_response;

#[cfg(feature = "tcp-check")]
pub use self::tcp_check::TcpCheck;
pub use self::{
    check::Check,
    check_status::{
        CheckCount, CheckCounts, CheckFailure, CheckFigures, CheckStatus, EndpointCheck, LastCheck,
    },
    health_check::{HealthCheck, InitialState},
    health_checked::HealthChecked,
};
#[cfg(feature = "http")]
pub use self::{
    grpc_call::GrpcCall, grpc_check::GrpcCheck, http_check::HttpCheck,
    unexpected_response::UnexpectedResponse,
};
