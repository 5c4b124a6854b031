use tokio::time::Instant;

use crate::endpoint::Moment;

/// The time of a pick: read from the clock when somebody first asks, and the same for all after.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    instant: Option<Instant>,
    moment: Option<Moment>,
}

impl Now {
    /// Reads the clock once somebody asks.
    #[must_use]
    pub const fn lazy() -> Self {
        Self { instant: None, moment: None }
    }

    /// A fixed time, as a simulation has it.
    #[must_use]
    pub const fn at(instant: Instant) -> Self {
        Self { instant: Some(instant), moment: None }
    }

    /// The time.
    #[inline]
    pub fn get(&mut self) -> Instant {
        *self.instant.get_or_insert_with(Instant::now)
    }

    #[inline]
    pub(crate) fn moment(&mut self) -> Moment {
        match self.moment {
            Some(moment) => moment,
            None => self.read(),
        }
    }

    fn read(&mut self) -> Moment {
        let moment = self.get().into();
        *self.moment.insert(moment)
    }
}
