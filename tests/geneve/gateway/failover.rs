//! What happens to the flows of an appliance that fails.

use std::time::Duration;

use tokio::time::sleep;
use tower_lb::{
    endpoint::Health,
    geneve::{ApplianceFailover, Gateway},
};

use crate::rig::{CLIENT, Rig, SERVER, data, syn, syn_ack, udp};

fn down() -> Health {
    Health::unhealthy("down")
}

/// Opens a connection, and returns the number of its appliance.
async fn connect(rig: &mut Rig) -> usize {
    let (number, _) = rig.pass(syn(CLIENT, SERVER)).await;
    assert_eq!(rig.pass(syn_ack(SERVER, CLIENT)).await.0, number);
    number
}

async fn rebalancing(appliances: usize) -> Rig {
    let settings = Gateway::builder().failover(ApplianceFailover::Rebalance);
    Rig::start(settings, appliances).await
}

#[tokio::test]
async fn without_rebalancing_flows_keep_a_failed_appliance() {
    let mut rig = Rig::with(2).await;
    let number = connect(&mut rig).await;
    let (of_datagrams, _) = rig.pass(udp(CLIENT, SERVER, b"1")).await;
    rig.set_health(number, down()).await;
    assert_eq!(rig.pass(data(CLIENT, SERVER, b"GET")).await.0, number);
    rig.remove(number).await;
    assert_eq!(rig.pass(data(SERVER, CLIENT, b"200")).await.0, number);
    assert_eq!(rig.pass(udp(CLIENT, SERVER, b"2")).await.0, of_datagrams);
    // New flows go elsewhere.
    for port in 1..20 {
        let (other, _) = rig.pass(udp(&format!("10.0.0.1:{port}"), SERVER, b"1")).await;
        assert_ne!(other, number);
    }
    assert_eq!(rig.monitor.status().rebalanced, 0);
}

/// A SYN is a new connection, also between the same ports.
#[tokio::test]
async fn a_syn_leaves_a_failed_appliance() {
    let mut rig = Rig::with(2).await;
    let number = connect(&mut rig).await;
    rig.set_health(number, down()).await;
    assert_eq!(rig.pass(syn(CLIENT, SERVER)).await.0, 1 - number);
    assert_eq!(rig.pass(syn_ack(SERVER, CLIENT)).await.0, 1 - number);
    let status = rig.counted(|status| status.packets_passed == 4).await;
    assert_eq!((status.rebalanced, status.flows, rig.in_flight()), (1, 1, 1));
}

#[tokio::test]
async fn with_rebalancing_flows_leave_an_unhealthy_appliance() {
    let mut rig = rebalancing(2).await;
    let number = connect(&mut rig).await;
    let (_, late) = rig.deliver(data(CLIENT, SERVER, b"GET")).await;
    rig.set_health(number, down()).await;
    assert_eq!(rig.pass(data(CLIENT, SERVER, b"GET")).await.0, 1 - number);
    assert_eq!(rig.pass(data(SERVER, CLIENT, b"200")).await.0, 1 - number);
    // What the former appliance still returns is not from the flow's appliance.
    rig.appliances[number].give_back(&late).await;
    rig.counted(|status| status.dropped.wrong_appliance == 1).await;
    // The flow was charged to the failed appliance, and stays where it is when that recovers.
    let outcomes = |rig: &Rig| {
        let status = rig.balancer.status();
        let name = number.to_string();
        let endpoint = status.endpoints.iter().find(|one| *one.name == *name).unwrap();
        (endpoint.outstanding, endpoint.outcomes.transport)
    };
    assert_eq!(outcomes(&rig), (0, 1));
    rig.set_health(number, Health::Healthy).await;
    assert_eq!(rig.pass(data(CLIENT, SERVER, b"GET")).await.0, 1 - number);
    assert_eq!(rig.monitor.status().rebalanced, 1);
}

#[tokio::test]
async fn with_rebalancing_flows_leave_a_removed_or_draining_appliance() {
    let mut rig = rebalancing(3).await;
    let first = connect(&mut rig).await;
    rig.remove(first).await;
    let (second, _) = rig.pass(data(CLIENT, SERVER, b"GET")).await;
    assert_ne!(second, first);
    rig.set_health(second, Health::draining("deploy")).await;
    let (third, _) = rig.pass(data(CLIENT, SERVER, b"GET")).await;
    assert!(third != first && third != second);
    assert_eq!(rig.monitor.status().rebalanced, 2);
}

#[tokio::test]
async fn with_rebalancing_flows_leave_an_appliance_that_is_not_in_a_new_set() {
    let mut rig = rebalancing(2).await;
    let number = connect(&mut rig).await;
    rig.keep_only(1 - number).await;
    assert_eq!(rig.pass(data(CLIENT, SERVER, b"GET")).await.0, 1 - number);
}

#[tokio::test]
async fn while_all_are_unhealthy_each_flow_keeps_one_of_them() {
    for failover in [ApplianceFailover::NoRebalance, ApplianceFailover::Rebalance] {
        let mut rig = Rig::start(Gateway::builder().failover(failover), 3).await;
        for number in 0..3 {
            rig.set_health(number, down()).await;
        }
        let number = connect(&mut rig).await;
        for _ in 0..5 {
            assert_eq!(rig.pass(data(CLIENT, SERVER, b"GET")).await.0, number);
        }
        assert_eq!(rig.monitor.status().rebalanced, 0);
        let healthy = (number + 1) % 3;
        rig.set_health(healthy, Health::Healthy).await;
        sleep(Duration::from_millis(1100)).await;
        let expected = match failover {
            ApplianceFailover::NoRebalance => number,
            ApplianceFailover::Rebalance => healthy,
        };
        assert_eq!(rig.pass(data(CLIENT, SERVER, b"GET")).await.0, expected);
    }
}

/// A flow that came to an unhealthy appliance loses it when that is removed.
#[tokio::test]
async fn an_unhealthy_appliance_may_be_removed() {
    let mut rig = Rig::start(Gateway::builder().reset_on_deregistration(true), 1).await;
    rig.set_health(0, down()).await;
    connect(&mut rig).await;
    rig.remove(0).await;
    rig.enter(data(CLIENT, SERVER, b"GET"));
    rig.counted(|status| status.resets == 2).await;
}

/// Resets are for connections that the appliance has lost, not for those that it got afterwards.
#[tokio::test]
async fn while_all_are_unhealthy_new_connections_are_not_reset() {
    let mut rig = Rig::start(Gateway::builder().reset_on_unhealthy(true), 1).await;
    connect(&mut rig).await;
    rig.set_health(0, down()).await;
    rig.enter(data(CLIENT, SERVER, b"GET"));
    rig.counted(|status| status.resets == 2).await;
    rig.leave().await;
    rig.leave().await;
    connect(&mut rig).await;
    assert_eq!(rig.pass(data(CLIENT, SERVER, b"GET")).await.0, 0);
    assert_eq!(rig.monitor.status().resets, 2);
}

/// A flow that came to a failed appliance is lost when that fails anew.
#[tokio::test]
async fn an_appliance_may_fail_twice() {
    let mut rig = rebalancing(2).await;
    rig.set_health(0, down()).await;
    rig.set_health(1, down()).await;
    let number = connect(&mut rig).await;
    rig.set_health(number, Health::Healthy).await;
    rig.set_health(1 - number, Health::Healthy).await;
    sleep(Duration::from_millis(1100)).await;
    rig.set_health(number, down()).await;
    assert_eq!(rig.pass(data(CLIENT, SERVER, b"GET")).await.0, 1 - number);
}

/// Adding and removing appliances moves no flow of the others.
#[tokio::test]
async fn changes_move_no_flow_of_other_appliances() {
    let mut rig = rebalancing(10).await;
    rig.remove(9).await;
    let mut flows = Vec::new();
    for port in 1..=100 {
        let client = format!("10.0.0.1:{port}");
        let (number, _) = rig.pass(udp(&client, SERVER, b"1")).await;
        flows.push((client, number));
    }
    rig.set_health(9, Health::Healthy).await;
    rig.remove(0).await;
    let mut moved = 0;
    for (client, number) in &flows {
        let (now, _) = rig.pass(udp(client, SERVER, b"2")).await;
        assert!(now == *number || *number == 0, "{client} moved from {number} to {now}");
        moved += u64::from(now != *number);
    }
    assert_eq!(rig.monitor.status().rebalanced, moved);
    assert!(moved > 0);
}
