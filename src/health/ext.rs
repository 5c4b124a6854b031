use super::{InvalidSetting, OutlierDetected, OutlierDetection};
use crate::discover::Discover;

/// Adapters that watch over the endpoints of every [`Discover`].
///
/// Each makes an endpoint only worse than what comes from upstream, and restores that when it is
/// satisfied, so that any of them can be put after any other.
pub trait HealthExt: Discover + Sized {
    /// Ejects endpoints that do worse than others, by what requests see; see [`OutlierDetected`].
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if the detection makes no sense.
    fn outlier_detected(
        self,
        detection: OutlierDetection,
    ) -> Result<OutlierDetected<Self>, InvalidSetting> {
        OutlierDetected::new(self, detection)
    }
}

impl<D: Discover> HealthExt for D {}
