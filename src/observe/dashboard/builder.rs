use std::{fmt, sync::Arc, time::Duration};

use serde::Serialize;

use super::{
    action::{Action, ActionError, ActionKind, Actions},
    feed::{Feed, Render},
    guard::Guard,
    service::{Dashboard, Shared},
};
#[cfg(feature = "metrics")]
use crate::observe::metrics::Exporter;
use crate::{ConfigError, observe::Registry, opaque::Opaque};

/// Configures a [`Dashboard`]; made by [`Dashboard::builder`].
pub struct DashboardBuilder {
    render: Box<Render>,
    #[cfg(feature = "metrics")]
    exporter: Exporter,
    interval: Duration,
    max_streams: usize,
    allowed_hosts: Option<Vec<String>>,
    actions: Option<Actions>,
    token: Option<String>,
    authenticated_outside: bool,
}

impl DashboardBuilder {
    pub(super) fn new(registry: &Registry) -> Self {
        let reported = registry.clone();
        Self {
            render: render(move || reported.report()),
            #[cfg(feature = "metrics")]
            exporter: Exporter::new(registry),
            interval: Duration::from_secs(1),
            max_streams: 32,
            allowed_hosts: None,
            actions: None,
            token: None,
            authenticated_outside: false,
        }
    }

    setters! {
        /// Sets how often the page is updated, and for how long a report is reused. Default 1 s.
        pub fn interval(interval: Duration) => interval = interval;
        /// Sets how many clients may listen to events at the same time. Default 32. A client beyond
        /// gets status 503, and the page then tries again.
        pub fn max_streams(max_streams: usize) => max_streams = max_streams;
        /// Sets the token that a request for an action must have, in `Authorization: Bearer`: at
        /// least 16 visible ASCII characters. Pages ask for it and forget it when they are closed.
        pub fn token(token: impl Into<String>) => token = Some(token.into());
    }

    /// Shows what `report` returns instead of the registry's report, such as a part of it. It has
    /// the form of a [`Report`](crate::observe::Report), and is called at most once per interval.
    #[must_use]
    pub fn report<R: Serialize>(mut self, report: impl Fn() -> R + Send + Sync + 'static) -> Self {
        self.render = render(report);
        self
    }

    /// Sets what writes the metrics. Default: one of the registry with the defaults of
    /// [`Exporter`].
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn metrics(mut self, exporter: Exporter) -> Self {
        self.exporter = exporter;
        self
    }

    /// Rejects requests whose `Host` is not one of `hosts`, with status 403. Default: any host.
    ///
    /// A host without a port allows all ports. It prevents DNS rebinding, by which a web page
    /// reaches a dashboard that is bound to loopback: allow `localhost`, `127.0.0.1`, `[::1]`.
    #[must_use]
    pub fn allowed_hosts(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.allowed_hosts = Some(hosts.into_iter().map(Into::into).collect());
        self
    }

    /// Grants these kinds of actions, and performs them by `handler`. Default: none, read-only.
    ///
    /// Needs [`token`](Self::token) or [`authenticated_outside`](Self::authenticated_outside). The
    /// handler runs in the task of the connection and must not block.
    #[must_use]
    pub fn actions(
        mut self,
        granted: impl IntoIterator<Item = ActionKind>,
        handler: impl Fn(Action) -> Result<(), ActionError> + Send + Sync + 'static,
    ) -> Self {
        let granted = granted.into_iter().collect();
        self.actions = Some(Actions { granted, handler: Opaque(Arc::new(handler)) });
        self
    }

    /// Declares that a layer of the program authenticates each request before the dashboard sees
    /// it, so that actions need no token. Default: they need one.
    #[must_use]
    pub fn authenticated_outside(mut self) -> Self {
        self.authenticated_outside = true;
        self
    }

    /// Builds the dashboard.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the interval or the number of streams is 0, the token is too short or has
    /// other characters, a host is invalid, or there are actions without authentication.
    pub fn build(self) -> Result<Dashboard, ConfigError> {
        ConfigError::if_zero_time("interval", self.interval)?;
        ConfigError::if_zero("max_streams", self.max_streams as u64)?;
        let guard = Guard::new(self.allowed_hosts.as_deref(), self.token.as_ref())?;
        let actions = self.actions.filter(|actions| !actions.granted.is_empty());
        if actions.is_some() && !guard.has_token() && !self.authenticated_outside {
            return Err(ConfigError::new("actions", "`token` or `authenticated_outside`"));
        }
        let feed = Feed::new(self.render, self.interval, self.max_streams);
        Ok(Dashboard::from(Shared {
            feed: Arc::new(feed),
            #[cfg(feature = "metrics")]
            exporter: self.exporter,
            guard,
            actions,
        }))
    }

    /// Builds the dashboard of the defaults, which are valid.
    pub(super) fn build_default(self) -> Dashboard {
        let feed = Feed::new(self.render, self.interval, self.max_streams);
        Dashboard::from(Shared {
            feed: Arc::new(feed),
            #[cfg(feature = "metrics")]
            exporter: self.exporter,
            guard: Guard::default(),
            actions: None,
        })
    }
}

fn render<R: Serialize>(report: impl Fn() -> R + Send + Sync + 'static) -> Box<Render> {
    Box::new(move |json| serde_json::to_writer(json, &report()))
}

impl fmt::Debug for DashboardBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DashboardBuilder")
            .field("interval", &self.interval)
            .field("max_streams", &self.max_streams)
            .field("allowed_hosts", &self.allowed_hosts)
            .field("actions", &self.actions)
            .field("authenticated_outside", &self.authenticated_outside)
            .finish_non_exhaustive()
    }
}
