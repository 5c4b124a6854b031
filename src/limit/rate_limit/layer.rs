use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{Meter, RateLimit};
use crate::ConfigError;

/// Wraps services into [`RateLimit`]. All of them share one rate.
#[derive(Clone, Debug)]
pub struct RateLimitLayer {
    pub(super) meter: Arc<Meter>,
    pub(super) max_wait: Duration,
}

impl RateLimitLayer {
    /// Allows `rate` requests per second, and up to `burst` at once.
    ///
    /// # Errors
    ///
    /// If `rate` is not above 1e-9 and at most 1e9, or `burst` is 0.
    pub fn new(rate: f64, burst: u32) -> Result<Self, ConfigError> {
        let valid = rate > 1e-9 && rate <= 1e9;
        ConfigError::unless(valid, "rate", rate, "requests per second, above 0 and at most 1e9")?;
        ConfigError::if_zero("burst", burst.into())?;
        Ok(Self { meter: Arc::new(Meter::new(rate, burst)), max_wait: Duration::ZERO })
    }

    /// Lets a request wait up to `time` until the rate allows it. Default: requests do not wait,
    /// and are rejected.
    #[must_use]
    pub fn max_wait(mut self, time: Duration) -> Self {
        self.max_wait = time;
        self
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit::new(inner, self.clone())
    }
}
