use futures::future::BoxFuture;
use tokio::net::{TcpStream, ToSocketAddrs};

use crate::{BoxError, health::Check};

/// An endpoint is healthy if it accepts a TCP connection, which is closed at once.
///
/// Needs addresses, so it is put before [`connect`](crate::discover::DiscoverExt::connect).
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpCheck;

impl<A> Check<A> for TcpCheck
where
    A: ToSocketAddrs + Send + 'static,
{
    fn check(&self, address: A) -> BoxFuture<'static, Result<(), BoxError>> {
        Box::pin(async move { Ok(TcpStream::connect(address).await.map(drop)?) })
    }
}
