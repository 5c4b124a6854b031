use std::net::SocketAddr;

use super::{ClassicProtocol, CookiePolicy};
use crate::{
    ConfigError,
    listener::{Socket, tls::ServerTls},
};

/// A listener of a Classic Load Balancer: the protocol and address of clients, and the protocol and
/// port of instances.
#[derive(Clone, Debug)]
pub struct ClassicListener {
    pub(super) protocol: ClassicProtocol,
    pub(super) address: SocketAddr,
    pub(super) instance_protocol: ClassicProtocol,
    pub(super) instance_port: u16,
    pub(super) tls: Option<ServerTls>,
    pub(super) cookies: Option<CookiePolicy>,
    pub(super) proxy_protocol: bool,
}

impl ClassicListener {
    /// Listens for `protocol` on `address`, and forwards to `instance_port` of instances by the
    /// same protocol. Port 0 of the address takes any free one.
    #[must_use]
    pub fn new(protocol: ClassicProtocol, address: SocketAddr, instance_port: u16) -> Self {
        Self {
            protocol,
            address,
            instance_protocol: protocol,
            instance_port,
            tls: None,
            cookies: None,
            proxy_protocol: false,
        }
    }

    setters! {
        /// Sets the protocol of instances: `InstanceProtocol`. Default that of the listener. HTTP
        /// and HTTPS go together, and so do TCP and SSL.
        pub fn instance_protocol(protocol: ClassicProtocol) => instance_protocol = protocol;
        /// Sets certificates and policy of the TLS with clients: `SSLCertificateId` and the SSL
        /// negotiation policy. HTTPS and SSL need it. HTTPS offers HTTP/1.1 only, whatever its ALPN
        /// says; for SSL, offer the protocols that the instances speak.
        pub fn tls(tls: ServerTls) => tls = Some(tls);
        /// Keeps the requests of a client at one instance. Default off. Only for HTTP and HTTPS.
        pub fn cookies(policy: CookiePolicy) => cookies = Some(policy);
        /// Sets whether instances get a PROXY header of version 1 at the beginning of each
        /// connection: `ProxyProtocolPolicyType`. Default `false`. Only for TCP and SSL: with HTTP,
        /// `X-Forwarded-For` tells the same. Health checks have no such header.
        pub fn proxy_protocol(sent: bool) => proxy_protocol = sent;
    }

    /// Fails if a setting is invalid or contradicts another one. The error names a field of the
    /// listener.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let Self { protocol, instance_protocol, .. } = self;
        if protocol.is_http() != instance_protocol.is_http() {
            let expected = match protocol.is_http() {
                true => "HTTP or HTTPS, because the listener has one of them",
                false => "TCP or SSL, because the listener has one of them",
            };
            let error = ConfigError::new("instance_protocol", expected);
            return Err(error.with_value(instance_protocol));
        }
        if self.instance_port == 0 {
            return Err(ConfigError::new("instance_port", "at least 1").with_value(0));
        }
        match (protocol.is_encrypted(), &self.tls) {
            (true, None) => {
                let expected = format!("certificates, because the listener is {protocol}");
                return Err(ConfigError::new("tls", expected));
            }
            (false, Some(_)) => {
                let expected = format!("not to be set, because the listener is {protocol}");
                return Err(ConfigError::new("tls", expected));
            }
            _ => {}
        }
        if self.cookies.is_some() && !protocol.is_http() {
            return Err(ConfigError::new("cookies", "a listener of HTTP or HTTPS"));
        }
        if self.proxy_protocol && protocol.is_http() {
            return Err(ConfigError::new("proxy_protocol", "a listener of TCP or SSL"));
        }
        Ok(())
    }

    /// Names the listener in figures, log events and errors.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.protocol, self.address)
    }

    pub(super) fn socket(&self) -> Socket {
        let socket = Socket::tcp(self.address);
        match &self.tls {
            Some(tls) => socket.tls(tls.clone()),
            None => socket,
        }
    }
}
