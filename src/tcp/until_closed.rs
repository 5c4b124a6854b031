use super::{Connection, Session};
use crate::{
    Balancer,
    balance::Builder,
    outcome::{Attempt, Attempts, Carry, Follow, Track},
};

/// A balancer of TCP connections, built by [`Builder::tcp`].
pub type TcpBalancer<St> = Balancer<super::Relay, St, UntilClosed>;

impl Builder<UntilClosed> {
    /// Returns the settings of a balancer of TCP connections, which counts a connection as in
    /// flight until it is closed.
    #[must_use]
    pub fn tcp() -> Self {
        Balancer::builder().track(UntilClosed)
    }
}

/// Ends an attempt when its connection is closed, and measures the latency of connecting.
///
/// | the connection | outcome |
/// |---|---|
/// | was not established | that of the error: a timeout or a transport failure |
/// | was reset by the target, which has not sent a byte | [`Outcome::TransportFailure`] |
/// | was closed or idle, or the target has sent a byte before it ended | [`Outcome::Success`] |
/// | was ended otherwise: by the client, or here | [`Outcome::Cancelled`] |
///
/// [`Outcome::TransportFailure`]: crate::outcome::Outcome::TransportFailure
/// [`Outcome::Success`]: crate::outcome::Outcome::Success
/// [`Outcome::Cancelled`]: crate::outcome::Outcome::Cancelled
#[derive(Clone, Copy, Debug, Default)]
pub struct UntilClosed;

impl Track<Session> for UntilClosed {
    type Response = Session;

    fn response(&self, mut session: Session, mut attempt: Attempt) -> Session {
        attempt.first_byte();
        session.hold(attempt);
        session
    }
}

impl Follow<Connection> for UntilClosed {
    fn attempts<'r>(&self, connection: &'r Connection) -> Option<&'r Attempts> {
        Carry::attempts(connection)
    }
}
