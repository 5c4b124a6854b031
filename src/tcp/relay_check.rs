use futures::future::BoxFuture;
use tokio::io::AsyncWriteExt;

use super::{
    Relay,
    connect::{dial, send_local_header},
};
use crate::{BoxError, health::Check};

/// Passes if a target accepts a TCP connection, and the PROXY header if its relay sends one. The
/// header is that of a health check (`LOCAL`, or `UNKNOWN` in version 1).
///
/// Place the check after [`connect`](crate::discover::DiscoverExt::connect). It has the time limit
/// of the [`HealthCheck`](crate::health::HealthCheck). A target with TLS sees a connection without
/// a handshake.
#[derive(Clone, Copy, Debug, Default)]
pub struct RelayCheck;

impl Check<Relay> for RelayCheck {
    fn check(&self, relay: Relay) -> BoxFuture<'static, Result<(), BoxError>> {
        Box::pin(async move {
            let mut stream = dial(relay.target()).await?;
            send_local_header(&mut stream, relay.state().shared.proxy.as_ref()).await?;
            // Otherwise a target that has not read the header yet could find a reset.
            stream.shutdown().await?;
            Ok(())
        })
    }
}
