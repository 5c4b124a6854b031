use std::{sync::LazyLock, time::Duration};

use tokio::time::Instant;

/// An instant as a number, because a pick computes many differences: nanoseconds since a common
/// origin, negative before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(i64);

/// The origin of all moments. Its value does not matter.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Moment {
    /// Returns the nanoseconds since an earlier moment; 0 if it is not earlier.
    #[inline]
    pub(super) fn since(self, earlier: Self) -> u64 {
        // The difference of two `i64` is a `u64`.
        if self.0 > earlier.0 { self.0.wrapping_sub(earlier.0) as u64 } else { 0 }
    }

    #[inline]
    pub(super) fn after(self, nanos: u64) -> Self {
        Self(self.0.saturating_add_unsigned(nanos))
    }

    pub(super) fn instant(self) -> Instant {
        let distance = Duration::from_nanos(self.0.unsigned_abs());
        let there =
            if self.0 < 0 { ORIGIN.checked_sub(distance) } else { ORIGIN.checked_add(distance) };
        there.unwrap_or(*ORIGIN)
    }
}

impl From<Instant> for Moment {
    #[inline]
    fn from(instant: Instant) -> Self {
        match instant.checked_duration_since(*ORIGIN) {
            Some(distance) => Self(nanos(distance)),
            None => Self(-nanos(ORIGIN.saturating_duration_since(instant))),
        }
    }
}

fn nanos(distance: Duration) -> i64 {
    i64::try_from(distance.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_those_of_the_instants_before_the_origin_too() {
        let origin = *ORIGIN;
        let second = Duration::from_secs(1);
        let [before, after] = [origin - second, origin + second].map(Moment::from);
        assert_eq!(after.since(before), 2_000_000_000);
        assert_eq!(before.since(after), 0);
        assert_eq!(before.after(2_000_000_000).instant(), origin + second);
        assert_eq!(before.instant(), origin - second);
        let never = Moment::from(origin + Duration::from_secs(1 << 40));
        assert_eq!(never.since(after), (i64::MAX - 1_000_000_000) as u64);
    }
}
