use std::{marker::PhantomData, time::Duration};

use tower_layer::Layer;

use super::{
    Timeout,
    kind::{Connect, FirstByte, Overall},
};

/// Wraps services into a [`Timeout`] of the kind `K`.
#[derive(Clone, Copy, Debug)]
pub struct TimeoutLayer<K> {
    limit: Duration,
    kind: PhantomData<K>,
}

/// Wraps services into [`ConnectTimeout`](super::ConnectTimeout).
pub type ConnectTimeoutLayer = TimeoutLayer<Connect>;

/// Wraps services into [`FirstByteTimeout`](super::FirstByteTimeout).
pub type FirstByteTimeoutLayer = TimeoutLayer<FirstByte>;

/// Wraps services into [`OverallTimeout`](super::OverallTimeout).
pub type OverallTimeoutLayer = TimeoutLayer<Overall>;

impl<K> TimeoutLayer<K> {
    /// Returns a layer whose services fail what takes longer than `limit`.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self { limit, kind: PhantomData }
    }
}

impl<S, K> Layer<S> for TimeoutLayer<K> {
    type Service = Timeout<S, K>;

    fn layer(&self, inner: S) -> Timeout<S, K> {
        Timeout::new(inner, self.limit)
    }
}
