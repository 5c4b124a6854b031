//! Settings that exclude each other, or are out of range.

use std::{future::ready, time::Duration};

use tower_lb::{
    alb::{
        TargetGroup, TargetGroupBuilder,
        target_group::{
            Algorithm, CrossZone, GroupHealthThresholds, HealthChecks, Protocol, ProtocolVersion,
            Stickiness,
        },
    },
    http::sticky::SessionKey,
    lambda::{Function, FunctionName, Invocation, Invoked},
};

use super::backend::Body;

fn builder() -> TargetGroupBuilder<Body> {
    TargetGroup::builder("settings")
}

fn function() -> TargetGroupBuilder<Body> {
    let echo = |_: &FunctionName, invocation: Invocation| {
        ready(Ok(Invoked::new(200, invocation.into_payload())))
    };
    builder().function("arn", Function::new(echo, "echo".parse().unwrap()))
}

fn sticky() -> Stickiness {
    Stickiness::load_balancer_cookie(SessionKey::new([7; 32]).unwrap())
}

fn app_cookie(name: &str) -> Stickiness {
    Stickiness::application_cookie(SessionKey::new([7; 32]).unwrap(), name)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn what_the_alb_excludes_is_an_error_that_says_why() {
    let least = Algorithm::LeastOutstandingRequests;
    for (invalid, text) in [
        (
            builder().slow_start(seconds(30)).algorithm(least),
            "`algorithm` is least_outstanding_requests: expected round robin, because slow start",
        ),
        (
            builder().slow_start(seconds(30)).algorithm(Algorithm::WeightedRandom),
            "`algorithm` is weighted_random: expected round robin",
        ),
        (
            builder().slow_start(seconds(29)),
            "`slow_start` is 29s: expected a time from 30 to 900 s",
        ),
        (builder().slow_start(seconds(901)), "`slow_start` is 901s"),
        (builder().deregistration_delay(seconds(3601)), "`deregistration_delay` is 3601s"),
        (builder().idle_timeout(seconds(4001)), "`idle_timeout` is 4001s"),
        (builder().idle_timeout(seconds(0)), "`idle_timeout` is 0 s"),
        (builder().connect_timeout(seconds(0)), "`connect_timeout` is 0 s"),
        (
            builder().stickiness(sticky()).cross_zone(CrossZone::Off),
            "`stickiness`: expected `cross_zone`",
        ),
        (builder().stickiness(sticky().duration(seconds(0))), "`stickiness.lifetime` is 0ns"),
        (builder().stickiness(sticky().duration(seconds(604_801))), "`stickiness.lifetime` is"),
        (builder().stickiness(app_cookie("AWSALBX")), "`stickiness.application_cookie` is AWSALBX"),
        (builder().stickiness(app_cookie("a b")), "`stickiness.follow` is a b"),
        (
            builder().group_health(GroupHealthThresholds::new().routing_count(2)),
            "`group_health.dns_count` is 1",
        ),
        (
            builder().health_checks(HealthChecks::new().interval(seconds(4))),
            "`health_checks.interval` is 4s",
        ),
        (
            builder().health_checks(HealthChecks::new().enabled(false)),
            "`health_checks.enabled` is false",
        ),
        (builder().unverified_tls(), "`tls`: expected `protocol` to be HTTPS"),
        (builder().server_name("a"), "`server_name`: expected `protocol` to be HTTPS"),
        (
            builder().protocol(Protocol::Https).unverified_tls().server_name("a"),
            "`server_name`: expected certificates that are verified",
        ),
        (function().algorithm(Algorithm::WeightedRandom), "`algorithm`: expected not to be set"),
        (function().stickiness(sticky()), "`stickiness`: expected not to be set"),
        (function().slow_start(seconds(30)), "`slow_start`: expected not to be set"),
        (
            function().target("10.0.0.1:80".parse::<std::net::SocketAddr>().unwrap()),
            "`targets`: expected",
        ),
        (function().protocol_version(ProtocolVersion::Grpc), "`protocol_version`: expected not"),
        (function().target_permits(1), "`target_permits`: expected not to be set"),
        (function().deregistration_delay(seconds(1)), "`deregistration_delay`: expected not"),
    ] {
        let error = invalid.build().unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
}

#[tokio::test]
async fn what_the_alb_accepts_is_accepted() {
    assert!(builder().build().is_ok());
    assert!(builder().slow_start(seconds(900)).deregistration_delay(seconds(0)).build().is_ok());
    let mitigation = Algorithm::WeightedRandomWithAnomalyMitigation;
    assert!(builder().algorithm(mitigation).stickiness(sticky()).build().is_ok());
    assert!(builder().cross_zone(CrossZone::Off).build().is_ok());
    assert!(function().multi_value_headers(true).build().is_ok());
    let key = SessionKey::new([8; 32]).unwrap();
    assert!(builder().stickiness(app_cookie("JSESSIONID").also_accept(key)).build().is_ok());
    let debug = format!("{:?}", builder().stickiness(sticky()));
    assert!(!debug.contains('7'), "{debug}");
}
