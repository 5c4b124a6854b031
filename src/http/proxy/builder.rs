use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;
use tower_layer::Layer;

use super::{
    forwarding::{ForwardedFields, Forwarding, Via},
    screen::HeadLimits,
    service::Proxy,
    trust::TrustedNetworks,
    tunnel::Tunnels,
    upgrade::UpgradePolicy,
};
use crate::{ConfigError, hop_by_hop::HopByHop};

/// Wraps services in [`Proxy`].
#[derive(Clone, Debug)]
pub struct ProxyLayer {
    settings: Arc<Settings>,
}

/// What all clones of a proxy share.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) limits: HeadLimits,
    pub(super) max_body: Option<u64>,
    pub(super) body_idle: Duration,
    pub(super) forwarding: Forwarding,
    pub(super) upgrades: Option<(UpgradePolicy, Tunnels)>,
}

impl ProxyLayer {
    /// Returns the default settings.
    #[must_use]
    pub fn builder() -> ProxyBuilder {
        ProxyBuilder {
            limits: HeadLimits::default(),
            max_body: None,
            body_idle: Duration::from_secs(60),
            fields: ForwardedFields::default(),
            trusted: TrustedNetworks::default(),
            write_forwarded: false,
            via: Some("tower-lb".to_owned()),
            request_id: None,
            tunnels: None,
            protocols: vec!["websocket".to_owned()],
            connect: false,
        }
    }
}

impl Default for ProxyLayer {
    /// Trusts no network, tunnels nothing, and limits the head of a request as an Application Load
    /// Balancer does; see the setters of [`ProxyBuilder`].
    fn default() -> Self {
        let builder = Self::builder();
        let via = builder.via.as_deref().and_then(Via::new);
        builder.assemble(via)
    }
}

impl<S> Layer<S> for ProxyLayer {
    type Service = Proxy<S>;

    fn layer(&self, inner: S) -> Proxy<S> {
        Proxy::new(inner, Arc::clone(&self.settings))
    }
}

/// Configures a [`ProxyLayer`].
#[derive(Clone, Debug)]
pub struct ProxyBuilder {
    limits: HeadLimits,
    max_body: Option<u64>,
    body_idle: Duration,
    fields: ForwardedFields,
    trusted: TrustedNetworks,
    write_forwarded: bool,
    via: Option<String>,
    request_id: Option<HeaderName>,
    tunnels: Option<Tunnels>,
    protocols: Vec<String>,
    connect: bool,
}

impl ProxyBuilder {
    setters! {
        /// Limits the length of a request target in bytes; longer ones get status 414. Default
        /// 16 KiB.
        pub fn max_target(bytes: usize) => limits.target = bytes;
        /// Limits the number of header fields; more get status 431. Default 100. The server may
        /// have a limit of its own: hyper refuses more than 100 on HTTP/1.
        pub fn max_fields(fields: usize) => limits.fields = fields;
        /// Limits the size of all header fields in bytes, counting 4 for each besides name and
        /// value; more get status 431. Default 64 KiB.
        pub fn max_field_bytes(bytes: usize) => limits.bytes = bytes;
        /// Limits the size of a request body in bytes; larger ones get status 413. Default no
        /// limit.
        pub fn max_body(bytes: u64) => max_body = Some(bytes);
        /// Limits the time in which a client sends nothing of a request body that the endpoint
        /// waits for; such a request gets status 408. Default 60 s.
        pub fn body_idle(time: Duration) => body_idle = time;
        /// Sets what happens to the fields that tell the endpoint about the client. Default
        /// [`ForwardedFields::Append`].
        pub fn forwarded_fields(fields: ForwardedFields) => fields = fields;
        /// Believes the forwarding fields and the request id of peers in these networks. Default
        /// none.
        pub fn trusted_networks(networks: impl IntoIterator<Item = IpNet>)
            => trusted = TrustedNetworks::new(networks);
        /// Sets whether `Forwarded` (RFC 7239) is written where `X-Forwarded-` fields are. Default
        /// `false`.
        pub fn write_forwarded(written: bool) => write_forwarded = written;
        /// Sets the name in the `Via` field of requests, a token or a host; `None` writes no
        /// `Via`. Default `tower-lb`, as RFC 9110 section 7.6.3 demands one. Some servers do not
        /// compress responses to requests with `Via`, such as nginx by default.
        pub fn via(name: Option<&str>) => via = name.map(str::to_owned);
        /// Names the field of a request id. A request of a trusted peer keeps its own; all others
        /// get 32 random hexadecimal digits. Default none.
        pub fn request_id(name: HeaderName) => request_id = Some(name);
        /// Lets requests upgrade to the protocols of [`protocols`](Self::protocols), in tunnels
        /// that run as tasks of the runtime. Default: `Upgrade` is removed, and the request served
        /// plainly.
        pub fn upgrades(tunnels: Tunnels) => tunnels = Some(tunnels);
        /// Sets the protocols that a request may upgrade to, as `Upgrade` names them. Default
        /// `websocket`.
        pub fn protocols(protocols: impl IntoIterator<Item = impl Into<String>>)
            => protocols = protocols.into_iter().map(Into::into).collect();
        /// Sets whether `CONNECT` is forwarded to an endpoint and tunnelled. It needs
        /// [`upgrades`](Self::upgrades). Default `false`: status 405.
        pub fn connect(allowed: bool) => connect = allowed;
    }

    /// Returns the layer.
    ///
    /// # Errors
    ///
    /// If `via` is not a token or a host, if a protocol is not a token, if `request_id` names a
    /// field of another meaning, or if `connect` is set without `upgrades`.
    pub fn build(self) -> Result<ProxyLayer, ConfigError> {
        let via = match &self.via {
            Some(name) => Some(
                Via::new(name)
                    .ok_or_else(|| ConfigError::new("via", "a token or a host").with_value(name))?,
            ),
            None => None,
        };
        // The name of a field is a token, too.
        let is_no_token = |name: &&String| HeaderName::from_bytes(name.as_bytes()).is_err();
        if let Some(name) = self.protocols.iter().find(is_no_token) {
            return Err(ConfigError::new("protocols", "tokens").with_value(name));
        }
        let is_own = |name: &&HeaderName| {
            [header::HOST, header::CONTENT_LENGTH, header::VIA].contains(name)
                || HopByHop::of(&HeaderMap::new()).contains(name)
        };
        if let Some(name) = self.request_id.as_ref().filter(is_own) {
            let expected = "a field that has no other meaning";
            return Err(ConfigError::new("request_id", expected).with_value(name));
        }
        if self.connect && self.tunnels.is_none() {
            return Err(ConfigError::new("connect", "`upgrades` to be set as well"));
        }
        Ok(self.assemble(via))
    }

    fn assemble(self, via: Option<Via>) -> ProxyLayer {
        let policy = UpgradePolicy { protocols: self.protocols, connect: self.connect };
        let forwarding = Forwarding {
            fields: self.fields,
            trusted: self.trusted,
            write_forwarded: self.write_forwarded,
            via,
            request_id: self.request_id,
        };
        let settings = Settings {
            limits: self.limits,
            max_body: self.max_body,
            body_idle: self.body_idle,
            forwarding,
            upgrades: self.tunnels.map(|tunnels| (policy, tunnels)),
        };
        ProxyLayer { settings: Arc::new(settings) }
    }
}
