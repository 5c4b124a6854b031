use futures::future::BoxFuture;
use tokio::net::{TcpStream, ToSocketAddrs};

use crate::{BoxError, health::Check};

/// Passes if the endpoint accepts a TCP connection, which is closed at once.
///
/// It needs addresses, so it belongs before [`connect`](crate::discover::DiscoverExt::connect).
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpCheck;

impl<A: ToSocketAddrs + Send + 'static> Check<A> for TcpCheck {
    fn check(&self, address: A) -> BoxFuture<'static, Result<(), BoxError>> {
        Box::pin(async move { Ok(TcpStream::connect(address).await.map(drop)?) })
    }
}
