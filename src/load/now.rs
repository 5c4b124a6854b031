use tokio::time::Instant;

/// The time of a pick: read from the clock when somebody first asks, and the same for all after.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now(Option<Instant>);

impl Now {
    /// Reads the clock once somebody asks.
    #[must_use]
    pub const fn lazy() -> Self {
        Self(None)
    }

    /// A fixed time, as a simulation has it.
    #[must_use]
    pub const fn at(instant: Instant) -> Self {
        Self(Some(instant))
    }

    /// The time.
    #[inline]
    pub fn get(&mut self) -> Instant {
        *self.0.get_or_insert_with(Instant::now)
    }
}
