use std::{fmt, sync::Arc};

use crate::escape::Escaped;

/// The location of an endpoint: a region and a zone in it, compared by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Locality {
    region: Arc<str>,
    zone: Arc<str>,
}

impl Locality {
    /// Creates a locality from the names of its region and zone, such as `eu-central-1` and
    /// `eu-central-1a`.
    pub fn new(region: impl Into<Arc<str>>, zone: impl Into<Arc<str>>) -> Self {
        Self { region: region.into(), zone: zone.into() }
    }

    /// Returns the region's name.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Returns the zone's name.
    #[must_use]
    pub fn zone(&self) -> &str {
        &self.zone
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Escaped(&self.region), Escaped(&self.zone))
    }
}
