use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

#[cfg(feature = "tls")]
use super::TargetTls;
use super::{Relay, RelayStatus, SendProxy, status::Counters};
use crate::{ConfigError, named::weak_status};

/// What the [`Relay`]s of a group of targets share: their settings and their figures.
///
/// ```
/// use tower_lb::{
///     balance::Builder,
///     discover::{self, DiscoverExt},
///     strategy::LeastLoaded,
///     tcp::{Relays, SendProxy},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_lb::BoxError> {
/// let relays = Relays::builder().proxy_protocol(SendProxy::v2()).build()?;
/// let targets = ["10.0.0.1:5432".parse()?, "10.0.0.2:5432".parse()?];
/// let endpoints = discover::addresses(targets).connect(relays.connector());
/// let balancer = Builder::tcp().spawn(LeastLoaded::default(), endpoints)?;
/// # drop(balancer);
/// println!("{}", relays.status());
/// # Ok(()) }
/// ```
///
/// Clones share everything.
#[derive(Clone)]
pub struct Relays {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) proxy: Option<SendProxy>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TargetTls>,
    pub(super) counters: Counters,
}

#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) connect: Duration,
    pub(super) idle: Duration,
    pub(super) half_closed: Duration,
}

/// Configures [`Relays`].
///
/// A time limit of [`Duration::MAX`] is no limit.
#[derive(Clone, Debug)]
pub struct RelaysBuilder {
    name: Arc<str>,
    connect: Duration,
    idle: Duration,
    half_closed: Option<Duration>,
    proxy: Option<SendProxy>,
    #[cfg(feature = "tls")]
    tls: Option<TargetTls>,
}

impl Relays {
    /// Returns the default settings.
    #[must_use]
    pub fn builder() -> RelaysBuilder {
        RelaysBuilder {
            name: "tcp".into(),
            connect: Duration::from_secs(5),
            idle: Duration::from_secs(350),
            half_closed: None,
            proxy: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Returns a relay to `target`.
    #[must_use]
    pub fn relay(&self, target: SocketAddr) -> Relay {
        Relay::new(target, Arc::clone(&self.shared))
    }

    /// Returns the function for [`DiscoverExt::connect`](crate::discover::DiscoverExt::connect).
    pub fn connector(&self) -> impl Fn(&SocketAddr) -> Relay + Clone + Send + Sync + use<> {
        let relays = self.clone();
        move |target| relays.relay(*target)
    }

    /// Returns what all relays have done so far.
    #[must_use]
    pub fn status(&self) -> RelayStatus {
        self.shared.counters.status()
    }

    /// Returns a function that reads the status until all relays are dropped.
    pub(crate) fn weak_status(&self) -> impl Fn() -> Option<RelayStatus> + Send + Sync + use<> {
        weak_status(&self.shared, |shared| shared.counters.status())
    }

    /// Returns the address of what all clones share.
    pub(crate) fn address(&self) -> *const () {
        Arc::as_ptr(&self.shared).cast()
    }
}

impl RelaysBuilder {
    setters! {
        /// Sets the name in the status and in metrics. Default `tcp`.
        pub fn name(name: impl Into<Arc<str>>) => name = name.into();
        /// Limits the time of an attempt until its target is connected, with the PROXY header and
        /// the TLS handshake. Another target can be tried then. Default 5 s.
        pub fn connect_timeout(time: Duration) => connect = time;
        /// Limits the time without a byte in either direction. Both connections are reset then.
        /// Default 350 s, as for a Network Load Balancer.
        pub fn idle_timeout(time: Duration) => idle = time;
        /// Limits the time without a byte after one side has closed, instead of `idle_timeout`. A
        /// time that is too short cuts off responses that servers prepare for long. Default the
        /// time of `idle_timeout`.
        pub fn half_closed_timeout(time: Duration) => half_closed = Some(time);
        /// Sends a PROXY header at the beginning of each connection to a target. Default none.
        pub fn proxy_protocol(header: SendProxy) => proxy = Some(header);
    }

    /// Speaks TLS to targets, after the PROXY header if there is one. Default none.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: TargetTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Builds the relays.
    ///
    /// # Errors
    ///
    /// If a time is zero.
    pub fn build(self) -> Result<Relays, ConfigError> {
        let half_closed = self.half_closed.unwrap_or(self.idle);
        for (field, time) in [
            ("connect_timeout", self.connect),
            ("idle_timeout", self.idle),
            ("half_closed_timeout", half_closed),
        ] {
            ConfigError::if_zero_time(field, time)?;
        }
        let limits = Limits { connect: self.connect, idle: self.idle, half_closed };
        let shared = Shared {
            limits,
            proxy: self.proxy,
            #[cfg(feature = "tls")]
            tls: self.tls,
            counters: Counters::new(self.name),
        };
        Ok(Relays { shared: Arc::new(shared) })
    }
}

impl fmt::Debug for Relays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relays").field("status", &self.status()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_zero_are_rejected_by_their_names() {
        let zero = Duration::ZERO;
        for (builder, field) in [
            (Relays::builder().connect_timeout(zero), "connect_timeout"),
            (Relays::builder().idle_timeout(zero), "idle_timeout"),
            (Relays::builder().half_closed_timeout(zero), "half_closed_timeout"),
        ] {
            assert_eq!(builder.build().unwrap_err().field(), field);
        }
    }
}
