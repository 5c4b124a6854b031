//! Automatic weights of targets.

use std::time::Duration;

use tower_lb::{alb::target_group::Algorithm, health::AnomalyResult};

use super::backend::{Backend, Group, get, group, healthy, reply, status, until};

async fn run(group: &Group, requests: usize) -> usize {
    let mut failed = 0;
    for _ in 0..requests {
        failed += usize::from(status(group, get("/")).await >= 500);
    }
    failed
}

async fn three_and_a_bad_one() -> ([Backend; 3], Backend) {
    let good = [Backend::good().await, Backend::good().await, Backend::good().await];
    let bad = Backend::answering(|_| async { reply(500) }).await;
    (good, bad)
}

#[tokio::test]
async fn an_anomalous_target_loses_its_share() {
    let ([a, b, c], bad) = three_and_a_bad_one().await;
    let group = group(&[&a, &b, &c, &bad])
        .algorithm(Algorithm::WeightedRandomWithAnomalyMitigation)
        .anomaly_interval(Duration::from_millis(100))
        .spawn()
        .unwrap();
    healthy(&group, 4).await;
    let early = run(&group, 100).await;
    assert!(early > 5, "{early}");
    let found = || group.health_of(&bad.id()).mitigation_in_effect;
    for _ in 0..100 {
        run(&group, 20).await;
        let share = group.anomalies().unwrap().status();
        if share.endpoints.iter().any(|one| one.weight_share <= 0.01) {
            break;
        }
    }
    assert!(found());
    assert_eq!(group.health_of(&bad.id()).anomaly, Some(AnomalyResult::Anomalous));
    assert_eq!(group.health_of(&a.id()).anomaly, Some(AnomalyResult::Normal));
    let late = run(&group, 200).await;
    assert!(late <= 10, "{late} of 200 requests reach a target that should get 0.3 %");
    assert_eq!(group.group_health().healthy, 4, "nothing is ejected");
}

#[tokio::test]
async fn without_mitigation_an_anomaly_is_reported() {
    let ([a, b, c], bad) = three_and_a_bad_one().await;
    let group =
        group(&[&a, &b, &c, &bad]).anomaly_interval(Duration::from_millis(100)).spawn().unwrap();
    healthy(&group, 4).await;
    run(&group, 100).await;
    until("it is found", || group.health_of(&bad.id()).anomaly == Some(AnomalyResult::Anomalous))
        .await;
    assert!(!group.health_of(&bad.id()).mitigation_in_effect);
    let before = bad.served();
    run(&group, 40).await;
    assert_eq!(bad.served() - before, 10);
}
