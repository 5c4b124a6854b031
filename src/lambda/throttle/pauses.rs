use std::{fmt, time::Duration};

use tokio::time::Instant;

use crate::{
    endpoint::Attributes,
    escape::Escaped,
    lambda::{FunctionName, ThrottleScope},
};

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

/// The endpoints that a throttle affects: a function in a region, or all functions of an account in
/// a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Domain {
    account: Option<Box<str>>,
    region: Option<Box<str>>,
    /// `None` for the whole region.
    function: Option<Box<str>>,
}

impl Domain {
    /// Returns the domain of a throttle at an endpoint; `None` if the throttle affects every
    /// endpoint, since leaving some out would not help.
    pub(super) fn of(name: &str, attributes: &Attributes, scope: ThrottleScope) -> Option<Self> {
        match scope {
            ThrottleScope::Function => Some(Self::of_function(name, attributes)),
            ThrottleScope::Region => {
                Some(Self { function: None, ..Self::of_function(name, attributes) })
            }
            ThrottleScope::Caller => None,
        }
    }

    /// Returns the function's domain. An endpoint whose name is not a function name has its own.
    pub(super) fn of_function(name: &str, attributes: &Attributes) -> Self {
        let parsed = name.parse::<FunctionName>().ok();
        let parsed = parsed.as_ref();
        let locality = attributes.locality().map(|locality| locality.region());
        let region = locality.or_else(|| parsed.and_then(FunctionName::region));
        Self {
            account: parsed.and_then(FunctionName::account).map(Into::into),
            region: region.map(Into::into),
            function: Some(parsed.map_or(name, FunctionName::name).into()),
        }
    }

    pub(super) fn is_region(&self) -> bool {
        self.function.is_none()
    }

    pub(super) fn contains(&self, endpoint: &Self) -> bool {
        self.region == endpoint.region
            && self.account == endpoint.account
            && (self.is_region() || self.function == endpoint.function)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some(function) => write!(f, "function {}", Escaped(function))?,
            None => f.write_str("all functions")?,
        }
        match &self.region {
            Some(region) => write!(f, " in {}", Escaped(region)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::endpoint::{Endpoint, Locality};

    use super::*;

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

    fn domain(name: &str, region: Option<&str>, scope: ThrottleScope) -> Domain {
        let mut endpoint = Endpoint::new(());
        if let Some(region) = region {
            endpoint = endpoint.with_locality(Locality::new(region, ""));
        }
        Domain::of(name, &endpoint, scope).unwrap()
    }

    #[test]
    fn versions_and_aliases_of_a_function_share_a_domain() {
        let of = |name| domain(name, None, ThrottleScope::Function);
        assert!(of("orders:1").contains(&of("orders:live")));
        assert!(!of("orders:1").contains(&of("stock:1")));
        assert!(!of("eu/orders").contains(&of("us/orders")), "not names of functions");
        let eu = of("arn:aws:lambda:eu-west-1:123456789012:function:orders:1");
        let us = of("arn:aws:lambda:us-east-1:123456789012:function:orders:1");
        assert!(!eu.contains(&us));
    }

    #[test]
    fn a_region_is_that_of_the_locality_or_of_the_arn() {
        let eu = domain("orders", Some("eu-west-1"), ThrottleScope::Region);
        let of = |name, region| domain(name, region, ThrottleScope::Function);
        assert!(eu.contains(&of("stock", Some("eu-west-1"))));
        assert!(!eu.contains(&of("stock", Some("us-east-1"))));
        assert!(!eu.contains(&of("stock", None)));
        let arn = "arn:aws:lambda:eu-west-1:123456789012:function:orders";
        let account = domain(arn, None, ThrottleScope::Region);
        assert!(account.contains(&of("123456789012:function:stock", Some("eu-west-1"))));
        assert!(!account.contains(&of("210987654321:function:stock", Some("eu-west-1"))));
    }
}
