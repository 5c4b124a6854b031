use std::fmt::Display;

use tokio::time::Instant;

/// A change of the state that a stage keeps for an endpoint.
pub(crate) struct Change<'c> {
    pub(crate) stage: &'c str,
    pub(crate) endpoint: &'c dyn Display,
    pub(crate) from: &'c str,
    pub(crate) to: &'c str,
    /// Why, as exactly as it is known: "connection refused", not "failed".
    pub(crate) cause: &'c dyn Display,
    /// When the old state began.
    pub(crate) since: Instant,
}

/// Logs a [`Change`] with a constant message. At `DEBUG`: if the change is one of health, the
/// balancer logs that at `INFO`, with the same cause.
macro_rules! log_change {
    ($message:literal, $change:expr) => {{
        let $crate::health::stage::change::Change { stage, endpoint, from, to, cause, since } =
            $change;
        tracing::debug!(
            stage = %$crate::escape::Escaped(stage),
            endpoint = %$crate::escape::Escaped(endpoint),
            from,
            to,
            cause = %$crate::escape::Escaped(cause),
            lasted = ?since.elapsed(),
            $message
        );
    }};
}

pub(crate) use log_change;
