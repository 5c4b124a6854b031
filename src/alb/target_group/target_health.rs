use std::{fmt, sync::Arc};

use super::Target;
use crate::{
    balance::EndpointStatus,
    endpoint::Health,
    escape::Escaped,
    health::{AnomalyResult, CheckFailure, EndpointAnomaly, EndpointCheck},
};

/// The health of a target in the words of `DescribeTargetHealth`.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct TargetHealth {
    /// The name of the target: its address, the key of its discovery, or the ARN of the function.
    pub id: Arc<str>,
    /// The availability zone, if it is known.
    pub zone: Option<Arc<str>>,
    /// The state.
    pub state: TargetState,
    /// Why the target is not healthy; `None` if it is.
    pub reason: Option<ReasonCode>,
    /// The reason as text.
    pub description: Option<String>,
    /// How the target compares with its peers; `None` if that is not detected.
    pub anomaly: Option<AnomalyResult>,
    /// Whether the target gets less than its share, because it is anomalous.
    pub mitigation_in_effect: bool,
}

/// The state of a target: those of the ELBv2 API that a target of this crate can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TargetState {
    /// It is being registered, or was not checked yet.
    Initial,
    /// It passes its checks.
    Healthy,
    /// It fails its checks.
    Unhealthy,
    /// It is not registered, or no rule of the load balancer forwards to its group.
    Unused,
    /// It is being deregistered and finishes its requests.
    Draining,
    /// It is not checked.
    Unavailable,
}

impl serde::Serialize for TargetState {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl TargetState {
    /// Returns the name of the state in the ELBv2 API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Unused => "unused",
            Self::Draining => "draining",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why a target is not healthy: the reasons of the ELBv2 API that a target of this crate can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReasonCode {
    /// The balancer does not know the target yet.
    RegistrationInProgress,
    /// No check has ended yet.
    InitialHealthChecking,
    /// The response to the check has another status than the matcher.
    ResponseCodeMismatch,
    /// The check took too long.
    Timeout,
    /// The check failed in another way, or the target has yet to pass enough checks.
    FailedHealthChecks,
    /// The target is not registered.
    NotRegistered,
    /// No rule of the load balancer forwards to the group.
    NotInUse,
    /// The target is being deregistered.
    DeregistrationInProgress,
    /// Health checks are off.
    HealthCheckDisabled,
}

impl serde::Serialize for ReasonCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl ReasonCode {
    /// Returns the code in the ELBv2 API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RegistrationInProgress => "Elb.RegistrationInProgress",
            Self::InitialHealthChecking => "Elb.InitialHealthChecking",
            Self::ResponseCodeMismatch => "Target.ResponseCodeMismatch",
            Self::Timeout => "Target.Timeout",
            Self::FailedHealthChecks => "Target.FailedHealthChecks",
            Self::NotRegistered => "Target.NotRegistered",
            Self::NotInUse => "Target.NotInUse",
            Self::DeregistrationInProgress => "Target.DeregistrationInProgress",
            Self::HealthCheckDisabled => "Target.HealthCheckDisabled",
        }
    }
}

impl TargetHealth {
    /// Returns the health of a target that the balancer has. `check` is `None` if targets are not
    /// checked.
    pub(super) fn of(
        target: &EndpointStatus,
        check: Option<&EndpointCheck>,
        anomaly: Option<&EndpointAnomaly>,
    ) -> Self {
        let (state, reason, description) = state_of(target.attributes.health(), check);
        let zone = target.attributes.locality().map(|locality| locality.zone().into());
        Self {
            anomaly: anomaly.map(|anomaly| anomaly.result),
            mitigation_in_effect: anomaly.is_some_and(EndpointAnomaly::is_mitigated),
            ..Self::new(Arc::clone(&target.name), zone, state, reason, description)
        }
    }

    /// Returns the health of a registered target that the balancer does not have yet.
    pub(super) fn registering(target: &Target) -> Self {
        let (state, reason) = (TargetState::Initial, ReasonCode::RegistrationInProgress);
        let description = "target registration is in progress".to_owned();
        Self::new(
            target.id(),
            target.zone().map(Into::into),
            state,
            Some(reason),
            Some(description),
        )
    }

    /// Returns the health of a target that is not registered.
    pub(super) fn not_registered(id: &str) -> Self {
        let (state, reason) = (TargetState::Unused, ReasonCode::NotRegistered);
        let description = "target is not registered to the target group".to_owned();
        Self::new(id.into(), None, state, Some(reason), Some(description))
    }

    /// Returns the health of the same target in a group that gets no requests.
    pub(in crate::alb) fn not_in_use(self) -> Self {
        let description = Some("no rule of the load balancer forwards to the group".to_owned());
        let (state, reason) = (TargetState::Unused, Some(ReasonCode::NotInUse));
        Self { state, reason, description, ..self }
    }

    fn new(
        id: Arc<str>,
        zone: Option<Arc<str>>,
        state: TargetState,
        reason: Option<ReasonCode>,
        description: Option<String>,
    ) -> Self {
        let (anomaly, mitigation_in_effect) = (None, false);
        Self { id, zone, state, reason, description, anomaly, mitigation_in_effect }
    }
}

fn state_of(
    health: &Health,
    check: Option<&EndpointCheck>,
) -> (TargetState, Option<ReasonCode>, Option<String>) {
    let because = |state, reason, text: &str| (state, Some(reason), Some(text.to_owned()));
    if let Health::Draining(_) = health {
        let reason = ReasonCode::DeregistrationInProgress;
        return because(TargetState::Draining, reason, "target deregistration is in progress");
    }
    let Some(check) = check else {
        let reason = ReasonCode::HealthCheckDisabled;
        return because(TargetState::Unavailable, reason, "health checks are not enabled");
    };
    if check.healthy {
        return (TargetState::Healthy, None, None);
    }
    let Some(last) = &check.last else {
        let reason = ReasonCode::InitialHealthChecking;
        let text = "initial health checks are in progress";
        return because(TargetState::Initial, reason, text);
    };
    let reason = match last.failure {
        Some(CheckFailure::UnexpectedResponse) => ReasonCode::ResponseCodeMismatch,
        Some(CheckFailure::TimedOut) => ReasonCode::Timeout,
        Some(CheckFailure::Failed) | None => ReasonCode::FailedHealthChecks,
    };
    let text = last.error.as_deref().unwrap_or("too few checks have passed since the last failure");
    because(TargetState::Unhealthy, reason, text)
}

impl fmt::Display for TargetHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Escaped(&self.id), self.state.as_str())?;
        if let Some(reason) = self.reason {
            write!(f, " ({}", reason.as_str())?;
            if let Some(description) = &self.description {
                write!(f, ": {}", Escaped(description))?;
            }
            f.write_str(")")?;
        }
        if let Some(anomaly) = self.anomaly.filter(|&result| result != AnomalyResult::Normal) {
            let mitigation = if self.mitigation_in_effect { ", mitigation in effect" } else { "" };
            write!(f, ", {}{mitigation}", anomaly.as_str())?;
        }
        Ok(())
    }
}
