use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::timeout;
use tower_layer::Layer;
use tower_service::Service;

use super::parse::{Parsed, parse};
use crate::{ConfigError, tcp::Connection};

/// Looks at the ClientHello of each connection, and leaves it in the stream. The connection then
/// has the client's [`server_name`](Connection::server_name) and [`alpn`](Connection::alpn).
///
/// A connection passes without a name if it begins otherwise, if the hello is too long or
/// malformed, or if it is not complete in time. A protocol in which the server speaks first waits
/// for that time.
#[derive(Clone, Debug)]
pub struct ReadHello<S> {
    inner: S,
    settings: ReadHelloLayer,
}

/// Wraps services in [`ReadHello`].
#[derive(Clone, Copy, Debug)]
pub struct ReadHelloLayer {
    timeout: Duration,
    max_bytes: usize,
}

/// A hello with a post-quantum key share has about 2 KB.
const DEFAULT_MAX_BYTES: usize = 16 * 1024;
/// The longest handshake message that other implementations accept.
const LARGEST_MAX_BYTES: usize = 64 * 1024;

impl ReadHelloLayer {
    /// Waits up to 10 s for a hello of up to 16 KiB.
    #[must_use]
    pub fn new() -> Self {
        Self { timeout: Duration::from_secs(10), max_bytes: DEFAULT_MAX_BYTES }
    }

    /// Limits the time until the hello is complete. Default 10 s.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        ConfigError::if_zero_time("timeout", time)?;
        self.timeout = time;
        Ok(self)
    }

    /// Limits the length of the hello, with the heads of its records. Default 16 KiB.
    ///
    /// # Errors
    ///
    /// If it is not 512 bytes to 64 KiB.
    pub fn max_bytes(mut self, bytes: usize) -> Result<Self, ConfigError> {
        let is_valid = (512..=LARGEST_MAX_BYTES).contains(&bytes);
        ConfigError::unless(is_valid, "max_bytes", bytes, "512 to 65536")?;
        self.max_bytes = bytes;
        Ok(self)
    }

    async fn read(self, connection: &mut Connection) {
        let look = |bytes: &[u8]| match parse(bytes) {
            Parsed::Incomplete if bytes.len() < self.max_bytes => None,
            Parsed::Incomplete | Parsed::Other => Some(None),
            Parsed::Hello(hello) => Some(Some(hello)),
        };
        let read = timeout(self.timeout, connection.look_ahead(look)).await;
        if let Ok(Some(Some(hello))) = read {
            connection.set_offer(hello.server_name, hello.alpn);
        }
    }
}

impl Default for ReadHelloLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ReadHelloLayer {
    type Service = ReadHello<S>;

    fn layer(&self, inner: S) -> ReadHello<S> {
        ReadHello { inner, settings: *self }
    }
}

impl<S> Service<Connection> for ReadHello<S>
where
    S: Service<Connection, Future: Send> + Clone + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut connection: Connection) -> Self::Future {
        // The service that is ready is the one to call.
        let next = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, next);
        let settings = self.settings;
        Box::pin(async move {
            settings.read(&mut connection).await;
            inner.call(connection).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_checked() {
        let hello = ReadHelloLayer::new();
        assert_eq!(hello.timeout(Duration::ZERO).unwrap_err().field(), "timeout");
        assert_eq!(hello.max_bytes(511).unwrap_err().field(), "max_bytes");
        assert!(hello.timeout(Duration::from_millis(1)).is_ok() && hello.max_bytes(512).is_ok());
    }
}
