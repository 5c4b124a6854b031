//! Settings that are invalid.

use std::time::Duration;

use tokio::net::UdpSocket;
use tower::{BoxError, service_fn};
use tower_lb::udp::{Datagram, Flow, OpenFlow, UdpRelay, UdpResponder};

#[tokio::test]
async fn errors_name_the_setting_of_the_user() {
    let bind = async || UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for (time, expected) in [
        (Duration::ZERO, "is 0 s: expected a time above 0"),
        (
            Duration::from_secs(400_000_000),
            "is 400000000: expected a time of at most ten years, in seconds",
        ),
    ] {
        let (idle, open) = (UdpRelay::builder(), UdpRelay::builder());
        let relays =
            [("idle_timeout", idle.idle_timeout(time)), ("open_timeout", open.open_timeout(time))];
        for (field, builder) in relays {
            let service = service_fn(async |_: Flow| Err::<OpenFlow, BoxError>("none".into()));
            let error = builder.build(bind().await, service).unwrap_err();
            assert_eq!(error.to_string(), format!("`{field}` {expected}"));
        }
        let service = service_fn(async |request: Datagram| Ok::<_, BoxError>(request));
        let error = UdpResponder::builder().timeout(time).build(bind().await, service).unwrap_err();
        assert_eq!(error.to_string(), format!("`timeout` {expected}"));
    }
}
