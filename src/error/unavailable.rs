use std::{fmt, sync::Arc};

use crate::endpoint::Health;

/// Why none of a balancer's endpoints can get a request.
///
/// Each endpoint is counted once, by the first of the reasons in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unavailable {
    /// How many endpoints there are.
    pub endpoints: usize,
    /// How many may get requests, but are not ready for one. An unhealthy one that a panic rule lets
    /// requests go to is counted here.
    pub not_ready: usize,
    /// How many are draining.
    pub draining: usize,
    /// How many are unhealthy, including ejected ones.
    pub unhealthy: usize,
    /// How many have weight 0.
    pub zero_weight: usize,
    /// How many would be eligible, but are excluded by a rule of the strategy.
    pub excluded: usize,
    /// The name and the health of one that is unhealthy, or else draining.
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
            Some((name, health)) => write!(f, " ({name} is {health})"),
            None => Ok(()),
        }
    }
}
