use futures::future::BoxFuture;
use tokio::io::AsyncWriteExt;

use super::{
    Relay,
    connect::{dial, send_local_header},
};
use crate::{BoxError, health::Check};

/// Passes if a target accepts a connection as [`RelayCheck`](super::RelayCheck) demands, and then
/// completes the TLS handshake of its relay. A relay without [TLS](super::RelaysBuilder::tls) needs
/// no handshake.
///
/// The certificate is verified as that of a client's connection, for the address of the target
/// unless [`TargetTls::server_name`](super::TargetTls::server_name) is set.
#[derive(Clone, Copy, Debug, Default)]
pub struct HandshakeCheck;

impl Check<Relay> for HandshakeCheck {
    fn check(&self, relay: Relay) -> BoxFuture<'static, Result<(), BoxError>> {
        Box::pin(async move {
            let shared = &relay.state().shared;
            let mut stream = dial(relay.target()).await?;
            send_local_header(&mut stream, shared.proxy.as_ref()).await?;
            match &shared.tls {
                Some(tls) => tls.connect(stream, relay.target(), None).await?.shutdown().await?,
                // As in `RelayCheck`.
                None => stream.shutdown().await?,
            }
            Ok(())
        })
    }
}
