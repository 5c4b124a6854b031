#[allow(clippy::module_inception)]
mod classify;
mod grpc_status;
mod http_status;
mod retry_after;
mod retry_on;

pub use self::{
    classify::ClassifyHttp, grpc_status::GrpcStatus, http_status::HttpStatus, retry_on::RetryOn,
};
