use std::time::Duration;

use tokio::time::Instant;

use super::domain::Domain;

/// Which domains are left alone at the moment, and until when.
#[derive(Debug, Default)]
pub(super) struct Pauses(Vec<Pause>);

#[derive(Debug)]
struct Pause {
    domain: Domain,
    length: Duration,
    until: Instant,
}

/// However long the service asks for.
const LONGEST: Duration = Duration::from_secs(60);

impl Pauses {
    /// Leaves a domain alone for so long: the `shortest` pause, twice as long as the last one if it
    /// has only just ended, and no less than the service asked for. Tells how long; `None` if that
    /// changes nothing, because it is paused already.
    pub(super) fn pause(
        &mut self,
        domain: Domain,
        shortest: Duration,
        asked: Option<Duration>,
        now: Instant,
    ) -> Option<Duration> {
        self.0.retain(|pause| now < pause.until + pause.length);
        let last = self.0.iter().position(|pause| pause.domain == domain);
        if last.is_some_and(|last| now < self.0[last].until) {
            return None;
        }
        let again = last.map(|last| self.0.swap_remove(last).length * 2);
        let length = again.unwrap_or(shortest).max(asked.unwrap_or_default()).min(LONGEST);
        self.0.push(Pause { domain, length, until: now + length });
        Some(length)
    }

    /// The domains that are paused.
    pub(super) fn active(&self, now: Instant) -> impl Iterator<Item = &Domain> {
        self.0.iter().filter(move |pause| now < pause.until).map(|pause| &pause.domain)
    }

    /// When the next pause ends.
    pub(super) fn next_end(&self, now: Instant) -> Option<Instant> {
        self.0.iter().map(|pause| pause.until).filter(|&until| now < until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{endpoint::Endpoint, lambda::ThrottleScope};

    const SECOND: Duration = Duration::from_secs(1);

    fn orders() -> Domain {
        Domain::of("orders", &Endpoint::new(()), ThrottleScope::Function).unwrap()
    }

    #[test]
    fn pauses_grow_while_they_do_not_help() {
        let (mut pauses, start) = (Pauses::default(), Instant::now());
        let at = |seconds: u32| start + SECOND * seconds;
        assert_eq!(pauses.pause(orders(), SECOND, None, at(0)), Some(SECOND));
        assert_eq!(pauses.pause(orders(), SECOND, None, at(0)), None, "paused already");
        assert_eq!(pauses.next_end(at(0)), Some(at(1)));
        assert_eq!(pauses.active(at(1)).count(), 0);
        assert_eq!(pauses.pause(orders(), SECOND, None, at(1)), Some(2 * SECOND));
        assert_eq!(pauses.pause(orders(), SECOND, None, at(4)), Some(4 * SECOND));
        assert_eq!(pauses.pause(orders(), SECOND, None, at(12)), Some(SECOND), "it had helped");
    }

    #[test]
    fn the_service_is_heeded_within_reason() {
        let (mut pauses, now) = (Pauses::default(), Instant::now());
        let asked = Some(5 * SECOND);
        assert_eq!(pauses.pause(orders(), SECOND, asked, now), asked);
        let forever = pauses.pause(orders(), SECOND, Some(Duration::MAX), now + 5 * SECOND);
        assert_eq!(forever, Some(LONGEST));
    }
}
