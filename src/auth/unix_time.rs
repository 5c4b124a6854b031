use std::time::{Duration, SystemTime};

/// Returns the seconds since the Unix epoch.
///
/// The system clock is read each time: other programs have written the times that it is compared
/// with, so a correction of the clock has to count.
pub(super) fn unix_time() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs()
}
