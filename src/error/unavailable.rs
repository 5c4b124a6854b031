use std::{fmt, sync::Arc};

use crate::{endpoint::Health, escape::Escaped};

/// The reasons why none of a balancer's endpoints can get a request.
///
/// Each endpoint is counted once, under the first reason in the order of the fields that applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unavailable {
    /// The balancer's [name](crate::balance::Builder::name), if it has one.
    pub balancer: Option<Arc<str>>,
    /// The number of all endpoints.
    pub endpoints: usize,
    /// The eligible endpoints, which are not ready. An unhealthy endpoint that a panic rule admits
    /// is counted here.
    pub not_ready: usize,
    /// The draining endpoints.
    pub draining: usize,
    /// The unhealthy endpoints, including ejected ones.
    pub unhealthy: usize,
    /// The endpoints of weight 0.
    pub zero_weight: usize,
    /// The endpoints that a rule of the strategy excludes and that would be eligible otherwise.
    pub excluded: usize,
    /// The name and the health of an unhealthy endpoint, or else of a draining one.
    pub example: Option<(Arc<str>, Health)>,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "none of {} endpoints is available", self.endpoints)?;
        let causes = [
            (self.unhealthy, "unhealthy"),
            (self.draining, "draining"),
            (self.zero_weight, "of weight 0"),
            (self.excluded, "excluded by the strategy"),
            (self.not_ready, "not ready"),
        ];
        let mut separator = ": ";
        for (count, cause) in causes.into_iter().filter(|&(count, _)| count > 0) {
            write!(f, "{separator}{count} {cause}")?;
            separator = ", ";
        }
        match &self.example {
            Some((name, health)) => write!(f, " ({} is {health})", Escaped(name)),
            None => Ok(()),
        }
    }
}
