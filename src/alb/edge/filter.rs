use std::{fmt, sync::Arc};

use http::request::Parts;

use super::refusal::Refusal;
use crate::{BoxError, escape::EscapedChain, named::Episode};

/// A decision about each request before the rules, such as that of a web application firewall.
#[derive(Clone)]
pub(in crate::alb) struct RequestFilter {
    admits: Arc<dyn Fn(&Parts) -> Result<bool, BoxError> + Send + Sync>,
    /// Whether requests pass while the filter fails.
    fail_open: bool,
    failures: Arc<Episode>,
}

impl RequestFilter {
    pub(in crate::alb) fn new(
        admits: Arc<dyn Fn(&Parts) -> Result<bool, BoxError> + Send + Sync>,
        fail_open: bool,
    ) -> Self {
        Self { admits, fail_open, failures: Arc::default() }
    }

    /// Refuses a request that is not admitted with 403. If the filter fails, the request gets 500
    /// or passes, as configured.
    pub(super) fn check(&self, head: &Parts) -> Result<(), Refusal> {
        match (self.admits)(head) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::Filtered),
            Err(error) => {
                let passes = self.fail_open;
                if self.failures.begins() {
                    tracing::warn!(error = %EscapedChain(&*error), passes, "the filter fails");
                }
                if passes { Ok(()) } else { Err(Refusal::FilterFailed) }
            }
        }
    }
}

impl fmt::Debug for RequestFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestFilter").field("fail_open", &self.fail_open).finish_non_exhaustive()
    }
}
