//! What a response says: about its endpoint as an [`Outcome`](crate::outcome::Outcome), and to a
//! retry as a [`RetryDecision`](crate::retry::RetryDecision).
//!
//! [`ClassifyHttp`] is the trait; [`HttpStatus`] and [`GrpcStatus`] implement it. [`RetryOn`] is
//! the retry policy.

#[allow(clippy::module_inception)]
mod classify;
mod grpc_status;
mod http_status;
mod retry_after;
mod retry_on;

pub use self::{
    classify::ClassifyHttp, grpc_status::GrpcStatus, http_status::HttpStatus, retry_on::RetryOn,
};
