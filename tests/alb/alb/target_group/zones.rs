//! Zones: cross-zone off, zonal shift, health by zone.

use std::time::Duration;

use tower_lb::alb::{
    TargetGroup, TargetGroupBuilder,
    target_group::{CrossZone, RoutingState, Target},
};

use super::backend::{Backend, Body, checks, get, healthy, reply, status, until};

fn zoned(backends: &[(&Backend, &str)]) -> TargetGroupBuilder<Body> {
    let targets =
        backends.iter().map(|(backend, zone)| Target::new(backend.address).in_zone(*zone));
    TargetGroup::builder("zones").targets(targets).health_checks(checks()).unrestricted()
}

#[tokio::test]
async fn with_cross_zone_off_a_node_keeps_to_its_zone() {
    let [a, b, c] = [Backend::good().await, Backend::good().await, Backend::good().await];
    let group = zoned(&[(&a, "eu-1a"), (&b, "eu-1b"), (&c, "eu-1b")])
        .cross_zone(CrossZone::Off)
        .spawn()
        .unwrap();
    healthy(&group, 3).await;
    let (in_a, in_b) = (group.in_zone("eu-1a"), group.in_zone("eu-1b"));
    for _ in 0..10 {
        assert_eq!(status(&in_a, get("/")).await, 200);
        assert_eq!(status(&in_b, get("/")).await, 200);
    }
    assert_eq!((a.served(), b.served(), c.served()), (10, 5, 5));
    assert_eq!(status(&group.in_zone("eu-1c"), get("/")).await, 503, "a zone without targets");
    // A request that no node has received may go anywhere.
    for _ in 0..9 {
        assert_eq!(status(&group, get("/")).await, 200);
    }
    assert_eq!((a.served(), b.served(), c.served()), (13, 8, 8));
}

#[tokio::test]
async fn with_cross_zone_off_each_zone_fails_open_by_itself() {
    let bad = Backend::checked_by(|| 500, |_| async { reply(200) }).await;
    let good = Backend::good().await;
    let group =
        zoned(&[(&bad, "eu-1a"), (&good, "eu-1b")]).cross_zone(CrossZone::Off).spawn().unwrap();
    healthy(&group, 1).await;
    until("the bad one is checked", || bad.checked() > 1).await;
    assert_eq!(group.zone_health("eu-1a").routing, RoutingState::FailOpen);
    assert_eq!(group.zone_health("eu-1b").routing, RoutingState::Healthy);
    assert!(!group.zone_health("eu-1a").is_in_dns && group.zone_health("eu-1b").is_in_dns);
    for _ in 0..5 {
        assert_eq!(status(&group.in_zone("eu-1a"), get("/")).await, 200);
    }
    assert_eq!((bad.served(), good.served()), (5, 0));
}

#[tokio::test]
async fn a_zone_is_shifted_away_and_back() {
    let [a, b] = [Backend::good().await, Backend::good().await];
    let group = zoned(&[(&a, "eu-1a"), (&b, "eu-1b")]).spawn().unwrap();
    healthy(&group, 2).await;
    group.zonal_shift().shift_away("eu-1a");
    until("the zone is away", || !group.status().notices.is_empty()).await;
    for _ in 0..10 {
        assert_eq!(status(&group.in_zone("eu-1a"), get("/")).await, 200);
    }
    assert_eq!((a.served(), b.served()), (0, 10));
    group.zonal_shift().restore("eu-1a", Duration::ZERO);
    until("the zone is back", || group.status().notices.is_empty()).await;
    for _ in 0..10 {
        assert_eq!(status(&group, get("/")).await, 200);
    }
    assert_eq!((a.served(), b.served()), (5, 15));
}
