use tower::{BoxError, Service, buffer::Buffer};

/// Requests that may wait for the one task that has the balancer.
const BOUND: usize = 1024;

/// How tower's `Balance`, which is not `Clone`, is shared between tasks. Call it on a runtime.
pub fn buffer<S>(balance: S) -> Buffer<(), S::Future>
where
    S: Service<(), Error: Into<BoxError> + Send + Sync, Future: Send> + Send + 'static,
{
    Buffer::new(balance, BOUND)
}
