use std::{net::IpAddr, time::Duration};

use tower_lb::{
    clb::{
        ClassicHealthCheck, ClassicListener, ClassicLoadBalancer, ClassicLoadBalancerBuilder,
        ClassicProtocol, CookiePolicy,
    },
    discover,
    http::sticky::SessionKey,
    listener::ListenError,
};

use crate::{balancer::anywhere, encrypted::server_tls};

fn builder() -> ClassicLoadBalancerBuilder {
    let instance: IpAddr = [127, 0, 0, 1].into();
    ClassicLoadBalancer::builder("test").instances(discover::addresses([instance]))
}

fn of(protocol: ClassicProtocol) -> ClassicListener {
    ClassicListener::new(protocol, anywhere(), 80)
}

/// Returns the field of the error and its text.
fn rejected(builder: ClassicLoadBalancerBuilder) -> (String, String) {
    match builder.bind() {
        Err(ListenError::Config(error)) => (error.field().to_owned(), error.to_string()),
        Err(error) => panic!("{error}"),
        Ok(balancer) => panic!("{balancer:?}"),
    }
}

#[tokio::test]
async fn what_a_listener_cannot_be() {
    use ClassicProtocol::{Http, Https, Ssl, Tcp};
    let key = || SessionKey::new([7; 32]).unwrap();
    let session = |key| CookiePolicy::duration(key, Duration::from_secs(60));
    let layer_7 = "expected HTTP or HTTPS, because the listener has one of them";
    let layer_4 = "expected TCP or SSL, because the listener has one of them";
    for (listener, field, text) in [
        (of(Http).instance_protocol(Tcp), "instance_protocol", layer_7),
        (of(Http).instance_protocol(Ssl), "instance_protocol", layer_7),
        (of(Https).tls(server_tls()).instance_protocol(Tcp), "instance_protocol", layer_7),
        (of(Tcp).instance_protocol(Http), "instance_protocol", layer_4),
        (of(Tcp).instance_protocol(Https), "instance_protocol", layer_4),
        (of(Ssl).tls(server_tls()).instance_protocol(Http), "instance_protocol", layer_4),
        (ClassicListener::new(Http, anywhere(), 0), "instance_port", "is 0: expected at least 1"),
        (of(Https), "tls", "expected certificates, because the listener is HTTPS"),
        (of(Ssl), "tls", "expected certificates, because the listener is SSL"),
        (of(Http).tls(server_tls()), "tls", "expected not to be set"),
        (of(Tcp).tls(server_tls()), "tls", "expected not to be set"),
        (of(Tcp).cookies(session(key())), "cookies", "expected a listener of HTTP or HTTPS"),
        (
            of(Ssl).tls(server_tls()).cookies(session(key())),
            "cookies",
            "expected a listener of HTTP or HTTPS",
        ),
        (of(Http).proxy_protocol(true), "proxy_protocol", "expected a listener of TCP or SSL"),
        (
            of(Http).cookies(CookiePolicy::duration(key(), Duration::ZERO)),
            "cookies.lifetime",
            "expected a time from 1 s to 7 days",
        ),
        (
            of(Http).cookies(CookiePolicy::application(key(), "a b")),
            "cookies.follow",
            "expected a cookie name",
        ),
        (
            of(Http).cookies(CookiePolicy::application(key(), "AWSELB")),
            "cookies.follow",
            "expected another name",
        ),
        (
            of(Http).cookies(session(key()).cookie_name("")),
            "cookies.cookie",
            "expected a cookie name",
        ),
    ] {
        let (found, shown) = rejected(builder().listener(listener));
        assert_eq!(found, format!("listener.127.0.0.1:0.{field}"), "{shown}");
        assert!(shown.contains(text), "{shown}");
    }
}

#[tokio::test]
async fn what_a_load_balancer_cannot_be() {
    let with = || builder().listener(of(ClassicProtocol::Http));
    let seconds = Duration::from_secs;
    let check = || ClassicHealthCheck::new("HTTP:80/".parse().unwrap());
    for (builder, field, text) in [
        (builder(), "listener", "expected at least one"),
        (
            ClassicLoadBalancer::builder("test").listener(of(ClassicProtocol::Http)),
            "instances",
            "expected at least one stream",
        ),
        (with().idle_timeout(Duration::ZERO), "idle_timeout", "expected a time above 0"),
        (with().idle_timeout(seconds(4001)), "idle_timeout", "from 1 to 4000 s"),
        (with().idle_timeout(Duration::from_millis(999)), "idle_timeout", "from 1 to 4000 s"),
        (with().connection_draining(seconds(3601)), "connection_draining", "from 1 to 3600 s"),
        (with().connection_draining(seconds(0)), "connection_draining", "a time above 0"),
        (with().connect_timeout(seconds(0)), "connect_timeout", "a time above 0"),
        (with().max_requests_per_instance(0), "max_requests_per_instance", "at least 1"),
        (
            with().health_check(check().interval(seconds(4))),
            "health_check.interval",
            "from 5 to 300 s",
        ),
        (
            with().health_check(check().timeout(seconds(30))),
            "health_check.timeout",
            "below `interval`",
        ),
        (
            with().health_check(check().healthy_threshold(11)),
            "health_check.healthy_threshold",
            "from 2 to 10",
        ),
    ] {
        let (found, shown) = rejected(builder);
        assert_eq!(found, field, "{shown}");
        assert!(shown.contains(text), "{shown}");
    }
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let twice = || ClassicListener::new(ClassicProtocol::Http, address, 80);
    let (field, _) = rejected(builder().listener(twice()).listener(twice()));
    assert_eq!(field, format!("listener.{address}.address"));
    let _taken = std::net::TcpListener::bind(address).unwrap();
    let error = builder().listener(twice()).bind().unwrap_err();
    assert!(matches!(error, ListenError::Socket { .. }), "{error}");
}

#[test]
fn it_needs_a_runtime() {
    let (field, _) = rejected(builder().listener(of(ClassicProtocol::Http)));
    assert_eq!(field, "bind");
}
