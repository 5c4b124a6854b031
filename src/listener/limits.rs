use std::time::Duration;

use crate::ConfigError;

/// The open connections of a listener, by default.
pub(crate) const DEFAULT_CONNECTIONS: u32 = 16_384;

/// The limits of a listener; see the setters of [`ListenerBuilder`](super::ListenerBuilder).
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) connections: usize,
    pub(super) connections_per_address: Option<usize>,
    pub(super) handshakes: usize,
    pub(super) handshake: Duration,
    pub(super) head_bytes: u32,
    pub(super) streams: u32,
    pub(super) requests: Option<u64>,
    pub(super) times: Times,
}

/// The limits of time that a connection is watched for.
#[derive(Clone, Debug)]
pub(super) struct Times {
    pub(super) head: Duration,
    pub(super) keep_alive: Duration,
    pub(super) idle: Duration,
    pub(super) tunnel_idle: Duration,
    pub(super) write: Duration,
    pub(super) age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: DEFAULT_CONNECTIONS as usize,
            connections_per_address: None,
            handshakes: 1024,
            handshake: Duration::from_secs(10),
            head_bytes: 64 * 1024,
            streams: 128,
            requests: None,
            times: Times::default(),
        }
    }
}

impl Default for Times {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            keep_alive: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            tunnel_idle: Duration::from_secs(3600),
            write: Duration::from_secs(30),
            age: Duration::from_secs(3600),
        }
    }
}

/// The least that hyper can be limited to.
const MIN_HEAD_BYTES: u32 = 1024;
/// RFC 9113 has a sign bit in the lengths of frames, and hyper buffers a head as a whole.
const MAX_HEAD_BYTES: u32 = 16 * 1024 * 1024;
/// The semaphore of tokio has no more permits.
const MAX_COUNT: usize = usize::MAX >> 3;

impl Limits {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let is_count = |number| (1..=MAX_COUNT).contains(&number);
        let count = |field, number: usize| {
            ConfigError::unless(is_count(number), field, number, "at least 1")
        };
        count("max_connections", self.connections)?;
        count("max_handshakes", self.handshakes)?;
        if let Some(number) = self.connections_per_address {
            count("max_connections_per_address", number)?;
            ConfigError::unless(
                number <= self.connections,
                "max_connections_per_address",
                number,
                "at most `max_connections`",
            )?;
        }
        ConfigError::unless(
            (MIN_HEAD_BYTES..=MAX_HEAD_BYTES).contains(&self.head_bytes),
            "max_head_bytes",
            self.head_bytes,
            "1 KiB to 16 MiB",
        )?;
        ConfigError::if_zero("max_streams", self.streams.into())?;
        if let Some(number) = self.requests {
            ConfigError::if_zero("max_requests", number)?;
        }
        let Times { head, keep_alive, idle, tunnel_idle, write, age } = self.times;
        for (field, time) in [
            ("handshake_timeout", self.handshake),
            ("head_timeout", head),
            ("keep_alive", keep_alive),
            ("idle_timeout", idle),
            ("tunnel_idle", tunnel_idle),
            ("write_timeout", write),
            ("max_age", age),
        ] {
            ConfigError::if_zero_time(field, time)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_rejected_by_its_name() {
        assert_eq!(Limits::default().check(), Ok(()));
        let cases: [(&str, fn(&mut Limits)); 12] = [
            ("max_connections", |limits| limits.connections = 0),
            ("max_handshakes", |limits| limits.handshakes = usize::MAX),
            ("max_connections_per_address", |limits| limits.connections_per_address = Some(0)),
            ("max_connections_per_address", |limits| limits.connections_per_address = Some(20_000)),
            ("max_head_bytes", |limits| limits.head_bytes = 1023),
            ("max_streams", |limits| limits.streams = 0),
            ("max_requests", |limits| limits.requests = Some(0)),
            ("handshake_timeout", |limits| limits.handshake = Duration::ZERO),
            ("head_timeout", |limits| limits.times.head = Duration::ZERO),
            ("keep_alive", |limits| limits.times.keep_alive = Duration::ZERO),
            ("idle_timeout", |limits| limits.times.idle = Duration::ZERO),
            ("max_age", |limits| limits.times.age = Duration::ZERO),
        ];
        for (field, change) in cases {
            let mut limits = Limits::default();
            change(&mut limits);
            assert_eq!(limits.check().unwrap_err().field(), field);
        }
    }
}
