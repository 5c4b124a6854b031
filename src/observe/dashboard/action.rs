use std::{error::Error as StdError, fmt, sync::Arc};

use serde::Deserialize;

use crate::{BoxError, escape::Escaped, opaque::Opaque};

/// A change that an operator asks for on the page.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Action {
    /// Sends no new requests to an endpoint, and lets those in flight finish.
    Drain {
        /// The balancer's name.
        balancer: String,
        /// The endpoint's name.
        endpoint: String,
    },
    /// Ends what `Drain` began.
    Undrain {
        /// The balancer's name.
        balancer: String,
        /// The endpoint's name.
        endpoint: String,
    },
    /// Sets the weight of an endpoint.
    SetWeight {
        /// The balancer's name.
        balancer: String,
        /// The endpoint's name.
        endpoint: String,
        /// The new weight; 0 means no requests.
        weight: u32,
    },
    /// Returns an ejected endpoint to service.
    EndEjection {
        /// The balancer's name.
        balancer: String,
        /// The endpoint's name.
        endpoint: String,
    },
    /// Sends no new requests to the endpoints of a zone.
    ShiftZone {
        /// The balancer's name.
        balancer: String,
        /// The zone's name.
        zone: String,
    },
    /// Ends what `ShiftZone` began.
    RestoreZone {
        /// The balancer's name.
        balancer: String,
        /// The zone's name.
        zone: String,
    },
    /// Asks the source of a balancer's endpoints now.
    Refresh {
        /// The balancer's name.
        balancer: String,
    },
}

/// The kind of an [`Action`], by which a program grants actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ActionKind {
    /// [`Action::Drain`]
    Drain,
    /// [`Action::Undrain`]
    Undrain,
    /// [`Action::SetWeight`]
    SetWeight,
    /// [`Action::EndEjection`]
    EndEjection,
    /// [`Action::ShiftZone`]
    ShiftZone,
    /// [`Action::RestoreZone`]
    RestoreZone,
    /// [`Action::Refresh`]
    Refresh,
}

/// Why an [`Action`] was not performed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ActionError {
    /// There is no such balancer, endpoint or zone. Status 404.
    UnknownTarget,
    /// The program does not perform the action now, for the reason given. Status 409.
    Refused(String),
    /// The action failed. Status 500.
    Failed(BoxError),
}

impl fmt::Display for ActionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownTarget => f.write_str("no such balancer, endpoint or zone"),
            Self::Refused(reason) => write!(f, "refused: {}", Escaped(reason)),
            Self::Failed(error) => write!(f, "failed: {}", Escaped(error)),
        }
    }
}

impl StdError for ActionError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Failed(error) => Some(&**error),
            _ => None,
        }
    }
}

impl ActionKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Undrain => "undrain",
            Self::SetWeight => "set_weight",
            Self::EndEjection => "end_ejection",
            Self::ShiftZone => "shift_zone",
            Self::RestoreZone => "restore_zone",
            Self::Refresh => "refresh",
        }
    }
}

/// What an action is about.
#[derive(Default)]
struct Target<'a> {
    balancer: &'a str,
    endpoint: Option<&'a str>,
    zone: Option<&'a str>,
    weight: Option<u32>,
}

impl Action {
    /// Returns the kind of this action.
    #[must_use]
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Drain { .. } => ActionKind::Drain,
            Self::Undrain { .. } => ActionKind::Undrain,
            Self::SetWeight { .. } => ActionKind::SetWeight,
            Self::EndEjection { .. } => ActionKind::EndEjection,
            Self::ShiftZone { .. } => ActionKind::ShiftZone,
            Self::RestoreZone { .. } => ActionKind::RestoreZone,
            Self::Refresh { .. } => ActionKind::Refresh,
        }
    }

    fn target(&self) -> Target<'_> {
        match self {
            Self::Drain { balancer, endpoint }
            | Self::Undrain { balancer, endpoint }
            | Self::EndEjection { balancer, endpoint } => {
                Target { balancer, endpoint: Some(endpoint), ..Target::default() }
            }
            Self::SetWeight { balancer, endpoint, weight } => Target {
                balancer,
                endpoint: Some(endpoint),
                weight: Some(*weight),
                ..Target::default()
            },
            Self::ShiftZone { balancer, zone } | Self::RestoreZone { balancer, zone } => {
                Target { balancer, zone: Some(zone), ..Target::default() }
            }
            Self::Refresh { balancer } => Target { balancer, ..Target::default() },
        }
    }

    fn audit(&self, result: &dyn fmt::Display) {
        let Target { balancer, endpoint, zone, weight } = self.target();
        tracing::info!(
            target: "tower_lb::audit",
            action = self.kind().name(),
            balancer = %Escaped(balancer),
            endpoint = endpoint.map(|name| tracing::field::display(Escaped(name))),
            zone = zone.map(|name| tracing::field::display(Escaped(name))),
            weight,
            %result,
            "action from the dashboard"
        );
    }
}

type Handler = dyn Fn(Action) -> Result<(), ActionError> + Send + Sync;

/// The actions that the program grants.
#[derive(Clone, Debug)]
pub(super) struct Actions {
    pub(super) granted: Vec<ActionKind>,
    pub(super) handler: Opaque<Arc<Handler>>,
}

/// Why an action that was understood has no success.
pub(super) enum Denied {
    NotGranted,
    Handler(ActionError),
}

impl Actions {
    /// Performs the action if it is granted, and leaves a trace in the log either way.
    pub(super) fn perform(&self, action: Action) -> Result<(), Denied> {
        if !self.granted.contains(&action.kind()) {
            action.audit(&"not granted");
            return Err(Denied::NotGranted);
        }
        let result = (self.handler.0)(action.clone());
        match &result {
            Ok(()) => action.audit(&"done"),
            Err(error) => action.audit(error),
        }
        result.map_err(Denied::Handler)
    }
}
