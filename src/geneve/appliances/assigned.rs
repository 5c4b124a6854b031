use super::Appliance;
use crate::outcome::{Attempt, Follow, Outcome, Track};

/// The appliance of a flow. The flow counts as in flight at the appliance until this is dropped.
#[derive(Debug)]
pub struct Assigned {
    appliance: Appliance,
    attempt: Option<Attempt>,
}

impl Assigned {
    /// Returns the appliance.
    #[must_use]
    pub fn appliance(&self) -> &Appliance {
        &self.appliance
    }

    /// Records how the flow ended.
    pub(crate) fn finish(mut self, outcome: Outcome) {
        if let Some(attempt) = self.attempt.take() {
            attempt.finish(outcome);
        }
    }
}

impl From<Appliance> for Assigned {
    /// For services that are not a balancer: the flow is counted nowhere.
    fn from(appliance: Appliance) -> Self {
        Self { appliance, attempt: None }
    }
}

/// The tracker of a balancer of appliances: a flow is in flight until it ends. Pass it to
/// [`Builder::track`](crate::balance::Builder::track).
///
/// | a flow that | is a |
/// |---|---|
/// | was idle for its timeout, which is shorter once the connection is closed | success |
/// | left its appliance because the appliance failed | transport failure |
/// | left its appliance because that was deregistered, was evicted, or ended with the gateway | cancellation |
#[derive(Clone, Copy, Debug, Default)]
pub struct ApplianceTracker;

impl Track<Appliance> for ApplianceTracker {
    type Response = Assigned;

    fn response(&self, appliance: Appliance, attempt: Attempt) -> Assigned {
        Assigned { appliance, attempt: Some(attempt) }
    }
}

impl<Req> Follow<Req> for ApplianceTracker {}
