//! A limit on events that could flood a log.

use std::time::Duration;

use tokio::time::Instant;

/// Lets one event of a kind pass per minute, and counts those that it suppresses. It belongs where
/// the state of the event's subject is kept, so that one subject doesn't suppress the events of
/// another, and the limit goes when the subject goes.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    /// When the next event may pass; `None` before the first.
    next: Option<Instant>,
    suppressed: u64,
}

const PERIOD: Duration = Duration::from_secs(60);

impl LogLimit {
    /// Returns the number of events suppressed since the last one if an event may pass now, and
    /// counts it as suppressed otherwise.
    pub(crate) fn pass(&mut self) -> Option<u64> {
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.next = now.checked_add(PERIOD);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_event_passes_per_minute_and_the_others_are_counted() {
        let mut limit = LogLimit::default();
        assert_eq!(limit.pass(), Some(0));
        for _ in 0..1000 {
            assert_eq!(limit.pass(), None);
        }
        advance(PERIOD - Duration::from_millis(1)).await;
        assert_eq!(limit.pass(), None);
        advance(Duration::from_millis(1)).await;
        assert_eq!(limit.pass(), Some(1001));
        assert_eq!(limit.pass(), None);
        advance(PERIOD * 100).await;
        assert_eq!((limit.pass(), limit.pass()), (Some(1), None));
    }
}
