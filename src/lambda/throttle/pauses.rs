use std::time::Duration;

use tokio::time::Instant;

use super::domain::Domain;

/// The domains that are left out at present, and until when.
#[derive(Debug, Default)]
pub(super) struct Pauses(Vec<Pause>);

#[derive(Debug)]
struct Pause {
    domain: Domain,
    length: Duration,
    until: Instant,
}

/// The longest pause, even if the service asks for more.
const MAX_PAUSE: Duration = Duration::from_secs(60);

impl Pauses {
    /// Pauses a domain and returns for how long: for `shortest`, or twice the last pause if that
    /// has only just ended, and at least for the time that the service `asked` for. Returns `None`
    /// for a domain that is paused already.
    pub(super) fn pause(
        &mut self,
        domain: Domain,
        shortest: Duration,
        asked: Option<Duration>,
        now: Instant,
    ) -> Option<Duration> {
        // A pause is kept for its length after its end, to tell whether it has helped.
        self.0.retain(|pause| now < pause.until + pause.length);
        let last = self.0.iter().position(|pause| pause.domain == domain);
        if last.is_some_and(|last| now < self.0[last].until) {
            return None;
        }
        let again = last.map(|last| self.0.swap_remove(last).length * 2);
        let length = again.unwrap_or(shortest).max(asked.unwrap_or_default()).min(MAX_PAUSE);
        self.0.push(Pause { domain, length, until: now + length });
        Some(length)
    }

    /// Returns the paused domains.
    pub(super) fn active(&self, now: Instant) -> impl Iterator<Item = &Domain> {
        self.0.iter().filter(move |pause| now < pause.until).map(|pause| &pause.domain)
    }

    /// Returns when the next pause ends.
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
        assert_eq!(pauses.pause(orders(), SECOND, None, at(12)), Some(SECOND), "it has helped");
    }

    #[test]
    fn a_pause_is_as_long_as_the_service_asks_up_to_a_maximum() {
        let (mut pauses, now) = (Pauses::default(), Instant::now());
        let asked = Some(5 * SECOND);
        assert_eq!(pauses.pause(orders(), SECOND, asked, now), asked);
        let longest = pauses.pause(orders(), SECOND, Some(Duration::MAX), now + 5 * SECOND);
        assert_eq!(longest, Some(MAX_PAUSE));
    }
}
