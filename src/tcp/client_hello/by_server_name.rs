use std::{
    collections::HashMap,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use crate::{
    BoxError, ConfigError,
    error::{RelayError, RelayErrorKind},
    tcp::Connection,
};

/// Sends each connection to the service for its [`server_name`](Connection::server_name).
///
/// A name such as `*.shop.example` stands for all names below `shop.example`. The name itself comes
/// before such a one, and a longer one before a shorter one. Connections with other names, or
/// without a name, get the default service. Without a default they fail as
/// [`RelayErrorKind::UnknownName`].
///
/// ```
/// use tower::ServiceExt;
/// use tower_lb::tcp::{ByServerName, Relays};
///
/// # fn example() -> Result<(), tower_lb::BoxError> {
/// let relays = Relays::builder().build()?;
/// let by_name = ByServerName::builder()
///     .service("shop.example", relays.relay("10.0.0.1:443".parse()?))
///     .service("*.shop.example", relays.relay("10.0.0.2:443".parse()?))
///     .default_service(relays.relay("10.0.0.3:443".parse()?))
///     .build()?;
/// # let _ = by_name;
/// # Ok(()) }
/// # example().unwrap();
/// ```
#[derive(Clone)]
pub struct ByServerName<S> {
    services: Arc<Services<S>>,
}

struct Services<S> {
    exact: HashMap<Box<str>, S>,
    /// By what follows `*.`.
    below: HashMap<Box<str>, S>,
    default: Option<S>,
}

/// Builds a [`ByServerName`].
pub struct ByServerNameBuilder<S> {
    named: Vec<(String, S)>,
    default: Option<S>,
}

impl<S> ByServerName<S> {
    /// Returns a builder without a service.
    #[must_use]
    pub fn builder() -> ByServerNameBuilder<S> {
        ByServerNameBuilder { named: Vec::new(), default: None }
    }

    fn find(&self, name: Option<&str>) -> Option<&S> {
        let Services { exact, below, default } = &*self.services;
        let named = name.and_then(|name| {
            exact
                .get(name)
                .or_else(|| name.match_indices('.').find_map(|(at, _)| below.get(&name[at + 1..])))
        });
        named.or(default.as_ref())
    }
}

impl<S> ByServerNameBuilder<S> {
    /// Adds a service for a name, or for all names below one, such as `*.shop.example`.
    #[must_use]
    pub fn service(mut self, name: impl Into<String>, service: S) -> Self {
        self.named.push((name.into(), service));
        self
    }

    /// Sets the service for other names, and for connections without a name. Default none.
    #[must_use]
    pub fn default_service(mut self, service: S) -> Self {
        self.default = Some(service);
        self
    }

    /// Builds the service.
    ///
    /// # Errors
    ///
    /// If a name is empty, has a `*` elsewhere than in front of its first dot, or is added twice.
    pub fn build(self) -> Result<ByServerName<S>, ConfigError> {
        let (mut exact, mut below) = (HashMap::new(), HashMap::new());
        for (name, service) in self.named {
            let (names, key) = match name.strip_prefix("*.") {
                Some(parent) => (&mut below, parent),
                None => (&mut exact, &*name),
            };
            let key = key.trim_end_matches('.').to_ascii_lowercase();
            let expected = "a name, such as `shop.example` or `*.shop.example`";
            let is_name = !key.is_empty() && !key.contains('*');
            ConfigError::unless(is_name, "service", &name, expected)?;
            if names.insert(key.into_boxed_str(), service).is_some() {
                return Err(ConfigError::new("service", "each name once").with_value(name));
            }
        }
        let services = Services { exact, below, default: self.default };
        Ok(ByServerName { services: Arc::new(services) })
    }
}

impl<S> Service<Connection> for ByServerName<S>
where
    S: Service<Connection, Error: Into<BoxError>, Future: Send> + Clone + Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    /// Always ready: the service is selected by the connection's name, in `call`.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, connection: Connection) -> Self::Future {
        let service = self.find(connection.server_name()).cloned();
        Box::pin(async move {
            let Some(mut service) = service else {
                let known = "the client has asked for another name, or for none";
                return Err(RelayError::new(RelayErrorKind::UnknownName, known).into());
            };
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
            service.call(connection).await.map_err(Into::into)
        })
    }
}

impl<S> fmt::Debug for ByServerName<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Services { exact, below, default } = &*self.services;
        f.debug_struct("ByServerName")
            .field("names", &(exact.len() + below.len()))
            .field("has_default", &default.is_some())
            .finish()
    }
}

impl<S> fmt::Debug for ByServerNameBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.named.iter().map(|(name, _)| name).collect();
        f.debug_struct("ByServerNameBuilder").field("names", &names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_name_is_found() {
        let by_name = ByServerName::builder()
            .service("shop.example", 1)
            .service("*.Shop.Example", 2)
            .service("*.eu.shop.example.", 3)
            .default_service(4)
            .build()
            .unwrap();
        for (name, service) in [
            (Some("shop.example"), 1),
            (Some("a.shop.example"), 2),
            (Some("a.b.shop.example"), 2),
            (Some("eu.shop.example"), 2),
            (Some("a.eu.shop.example"), 3),
            (Some("workshop.example"), 4),
            (Some("."), 4),
            (None, 4),
        ] {
            assert_eq!(by_name.find(name), Some(&service), "{name:?}");
        }
    }

    #[test]
    fn names_are_checked() {
        for names in [&["", "a"][..], &["*"], &["*.", "a"], &["a.*"], &["*.*.a"], &["a", "A."]] {
            let builder = names
                .iter()
                .fold(ByServerName::builder(), |builder, &name| builder.service(name, ()));
            assert_eq!(builder.build().unwrap_err().field(), "service", "{names:?}");
        }
    }
}
