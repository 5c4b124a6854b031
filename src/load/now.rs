use tokio::time::Instant;

use crate::endpoint::Moment;

/// The time of a pick. The clock is read at the first use, and not again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    instant: Option<Instant>,
    moment: Option<Moment>,
}

impl Now {
    /// Reads the clock at the first use.
    #[must_use]
    pub const fn lazy() -> Self {
        Self { instant: None, moment: None }
    }

    /// Reads the clock at once.
    #[inline]
    pub(crate) fn read() -> Self {
        let instant = Instant::now();
        Self { instant: Some(instant), moment: Some(instant.into()) }
    }

    /// Uses a fixed time, as a simulation does.
    #[must_use]
    pub const fn at(instant: Instant) -> Self {
        Self { instant: Some(instant), moment: None }
    }

    /// Returns the time.
    #[inline]
    pub fn get(&mut self) -> Instant {
        *self.instant.get_or_insert_with(Instant::now)
    }

    /// Returns the time as a moment, if it is converted: after [`read`](Self::read) or
    /// [`moment`](Self::moment).
    #[inline]
    pub(crate) fn known(&self) -> Option<Moment> {
        self.moment
    }

    #[inline]
    pub(crate) fn moment(&mut self) -> Moment {
        match self.moment {
            Some(moment) => moment,
            None => self.convert(),
        }
    }

    // Apart from `moment`, so that the common case is inlined.
    fn convert(&mut self) -> Moment {
        let moment = self.get().into();
        *self.moment.insert(moment)
    }
}
