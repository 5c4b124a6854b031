use std::ops::Deref;

use crate::alb::config::{Config, Note, Problem};

/// A configuration that has passed its [check](Config::check).
///
/// The target groups that its actions name exist, and what its names stand for is known. A load
/// balancer can be built from it, whatever was accepted, if the program supplies what the bindings
/// leave to it and the files that they name are valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    config: Config,
    notes: Vec<Note>,
    accepted: Vec<Problem>,
}

impl Checked {
    pub(super) fn new(config: Config, notes: Vec<Note>, accepted: Vec<Problem>) -> Self {
        Self { config, notes, accepted }
    }

    /// Returns what has no effect, or is worth a look.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Returns the problems that were accepted.
    #[must_use]
    pub fn accepted(&self) -> &[Problem] {
        &self.accepted
    }

    /// Returns the configuration.
    #[must_use]
    pub fn into_config(self) -> Config {
        self.config
    }
}

impl Deref for Checked {
    type Target = Config;

    fn deref(&self) -> &Config {
        &self.config
    }
}
