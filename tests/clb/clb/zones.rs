use tower_lb::{
    clb::{ClassicLoadBalancer, ClassicLoadBalancerBuilder, ClassicProtocol},
    discover,
    endpoint::{Endpoint, Locality},
};

use crate::{
    balancer::{Clb, listener, quick, status},
    instance::{Instance, instances},
};

fn zone(name: &str) -> Locality {
    Locality::new("eu-central-1", format!("eu-central-1{name}"))
}

fn zoned(instances: &[Instance; 3]) -> ClassicLoadBalancerBuilder {
    let zones = ["a", "a", "b"];
    let endpoints = instances.iter().zip(zones).map(|(instance, name)| {
        (instance.ip().to_string(), Endpoint::new(instance.ip()).with_locality(zone(name)))
    });
    let port = instances[0].port();
    ClassicLoadBalancer::builder("test")
        .instances(discover::list(endpoints))
        .health_check(quick(&format!("TCP:{port}")))
        .listener(listener(ClassicProtocol::Tcp, port))
        .unrestricted()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_stay_in_the_zone_unless_cross_zone_is_on() {
    for (local, cross_zone, expected) in [
        (Some("a"), false, [6, 6, 0]),
        (Some("b"), false, [0, 0, 12]),
        (Some("a"), true, [4, 4, 4]),
        (None, false, [4, 4, 4]),
    ] {
        let all = instances(["1", "2", "3"]).await;
        let mut builder = zoned(&all).cross_zone(cross_zone);
        if let Some(local) = local {
            builder = builder.zone(zone(local));
        }
        let clb = Clb::ready(builder, 3).await;
        for _ in 0..12 {
            assert_eq!(status(&clb.get("/").await), 200);
        }
        let got = all.each_ref().map(Instance::requests);
        assert_eq!(got, expected, "in {local:?}, cross-zone {cross_zone}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_without_instances_serves_nothing() {
    let all = instances(["1", "2", "3"]).await;
    let http = listener(ClassicProtocol::Http, all[0].port());
    let clb = Clb::ready(zoned(&all).listener(http).zone(zone("c")), 3).await;
    assert_eq!(status(&clb.get_from(1, "/", "").await), 503);
    assert_eq!(all.each_ref().map(Instance::requests), [0, 0, 0]);
}
