//! Endpoints that fail more often than their peers get less, and never so much less that the group
//! stops serving.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::advance;
use tower_lb::{
    discover,
    endpoint::{Endpoint, Health},
    health::{
        AnomalyDetected, AnomalyDetection, AnomalyFigures, AnomalyResult, EndpointAnomaly,
        HealthExt,
    },
    outcome::Outcome,
    strategy::Rng,
};
use tower_lb_test_support::Watched;

type Handle = discover::Handle<usize, ()>;
type Fleet = Watched<AnomalyDetected<discover::Channel<usize, ()>>>;

const INTERVAL: Duration = Duration::from_secs(5);

fn fleet(endpoints: usize, detection: AnomalyDetection) -> (Handle, Fleet, AnomalyFigures) {
    let (handle, stream) = discover::channel();
    handle.reset((0..endpoints).map(|key| (key, Endpoint::new(())))).unwrap();
    let stage = stream.anomaly_detected(detection).unwrap();
    let figures = stage.figures();
    let mut fleet = Watched::new(stage);
    fleet.settle();
    (handle, fleet, figures)
}

/// An interval in which requests are spread by weight, as a weighted random strategy does, and fail
/// with the probability of their endpoint.
async fn interval(fleet: &mut Fleet, rng: &mut Rng, requests: usize, error_shares: &[f64]) {
    let weights: Vec<_> =
        (0..error_shares.len()).map(|key| fleet.endpoint(&key).weight() as usize).collect();
    let all = weights.iter().sum::<usize>();
    for _ in 0..requests {
        let mut drawn = rng.below(all);
        let key = weights.iter().position(|&weight| {
            let is_here = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            is_here
        });
        let key = key.unwrap();
        let fails = rng.unit() < error_shares[key];
        let outcome = if fails { Outcome::ApplicationError } else { Outcome::Success };
        fleet.request(&key).finish(outcome);
    }
    advance(INTERVAL).await;
    fleet.settle();
}

fn of(figures: &AnomalyFigures, key: usize) -> EndpointAnomaly {
    let name = key.to_string();
    figures.status().endpoints.into_iter().find(|one| *one.endpoint == *name).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// The weighting of a canary whose version fails 30 % of its requests: share and time until
/// mitigation, and the way back once the version is good. `--nocapture` prints it for a plot.
#[tokio::test(start_paused = true)]
async fn a_bad_canary_loses_its_share_and_a_repaired_one_gets_it_back() {
    const BAD: usize = 3;
    let (_handle, mut fleet, figures) = fleet(4, AnomalyDetection::new());
    let mut rng = Rng::seeded(1);
    let (mut failed_share, mut shares) = (0.0, Vec::new());
    println!("seconds,weight_share,traffic_share,state");
    for step in 0..200_u64 {
        let is_bad = (6..60).contains(&step);
        let errors = [0.01, 0.01, 0.01, if is_bad { 0.3 } else { 0.01 }];
        interval(&mut fleet, &mut rng, 200, &errors).await;
        let (bad, weight) = (of(&figures, BAD), f64::from(fleet.endpoint(&BAD).weight()));
        let traffic = weight / (300.0 + weight);
        println!("{},{:.3},{traffic:.4},{}", (step + 1) * 5, bad.weight_share, bad.result.as_str());
        shares.push(bad.weight_share);
        if is_bad {
            failed_share += traffic * 0.3 / 54.0;
        }
    }
    assert!(shares[..6].iter().all(|&share| share == 1.0), "a good canary keeps its share");
    let found = shares.iter().position(|&share| share < 1.0).unwrap();
    assert!(found <= 8, "found after {} intervals", found - 5);
    assert!(shares[30..60].iter().all(|&share| share <= 0.1), "{:?}", &shares[30..60]);
    // Without mitigation it would be 7.5 % of all requests.
    assert!(failed_share < 0.012, "{failed_share}");
    assert_eq!(shares.last(), Some(&1.0));
    assert_eq!(figures.status().counts.began, figures.status().counts.ended);
}

#[tokio::test(start_paused = true)]
async fn without_mitigation_an_anomaly_is_only_reported() {
    let (_handle, mut fleet, figures) = fleet(3, AnomalyDetection::new().mitigate(false));
    let mut rng = Rng::seeded(2);
    for _ in 0..4 {
        interval(&mut fleet, &mut rng, 300, &[0.5, 0.0, 0.0]).await;
    }
    let bad = of(&figures, 0);
    assert_eq!((bad.result, bad.is_mitigated()), (AnomalyResult::Anomalous, false));
    assert_eq!(fleet.endpoint(&0).weight(), 1, "weights stay as they are");
    for _ in 0..4 {
        interval(&mut fleet, &mut rng, 300, &[0.0; 3]).await;
    }
    assert_eq!(of(&figures, 0).result, AnomalyResult::Normal);
}

#[tokio::test(start_paused = true)]
async fn two_endpoints_are_too_few() {
    let (handle, mut fleet, figures) = fleet(3, AnomalyDetection::new());
    let mut rng = Rng::seeded(3);
    for _ in 0..3 {
        interval(&mut fleet, &mut rng, 300, &[0.5, 0.0, 0.0]).await;
    }
    assert!(of(&figures, 0).is_mitigated());
    let unhealthy = Endpoint::new(()).with_health(Health::unhealthy("test"));
    handle.insert(1, unhealthy).unwrap();
    fleet.settle();
    interval(&mut fleet, &mut rng, 0, &[0.0; 3]).await;
    assert_eq!(of(&figures, 0).weight_share, 1.0);
    for _ in 0..3 {
        interval(&mut fleet, &mut rng, 300, &[0.5, 0.0, 0.0]).await;
    }
    assert_eq!(of(&figures, 0).result, AnomalyResult::Normal);
}

#[test]
fn nonsense_is_rejected() {
    for (detection, text) in [
        (AnomalyDetection::new().interval(Duration::ZERO), "`interval` is 0 s"),
        (AnomalyDetection::new().window(0), "`window` is 0: expected a number from 1 to 100"),
        (AnomalyDetection::new().min_endpoints(1), "`min_endpoints` is 1: expected at least 2"),
        (AnomalyDetection::new().significance(0.0), "`significance` is 0"),
        (AnomalyDetection::new().floor(0.0), "`floor` is 0"),
        (AnomalyDetection::new().max_anomalous(1.0), "`max_anomalous` is 1"),
        (AnomalyDetection::new().min_difference(f64::NAN), "`min_difference` is NaN"),
    ] {
        let error =
            discover::channel::<usize, ()>().1.anomaly_detected(detection).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever fails: at most half of the endpoints are anomalous, every endpoint keeps at least
    /// the floor, most of the weight stays, and once nothing fails any more all shares are whole.
    #[test]
    fn the_group_keeps_serving(
        seed: u64,
        endpoints in 1_usize..8,
        phases in prop::collection::vec((prop::collection::vec(0.0_f64..1.0, 8), 1_usize..8), 1..6),
    ) {
        runtime().block_on(async {
            let (_handle, mut fleet, figures) = fleet(endpoints, AnomalyDetection::new());
            let mut rng = Rng::seeded(seed);
            for (errors, intervals) in phases {
                for _ in 0..intervals {
                    interval(&mut fleet, &mut rng, 40 * endpoints, &errors[..endpoints]).await;
                    let status = figures.status();
                    let anomalous = status.endpoints.iter();
                    let anomalous =
                        anomalous.filter(|one| one.result == AnomalyResult::Anomalous).count();
                    prop_assert!(anomalous <= endpoints / 2);
                    let weights = (0..endpoints).map(|key| fleet.endpoint(&key).weight());
                    let weights: Vec<_> = weights.collect();
                    prop_assert!(weights.iter().all(|weight| (1..=100).contains(weight)));
                    prop_assert!(weights.iter().sum::<u32>() as usize * 2 >= endpoints * 100);
                }
            }
            for _ in 0..12 * 15 {
                interval(&mut fleet, &mut rng, 0, &[0.0; 8][..endpoints]).await;
            }
            prop_assert!((0..endpoints).all(|key| fleet.endpoint(&key).weight() == 100));
            Ok(())
        })?;
    }

    /// If all endpoints fail alike, however often, none is treated differently.
    #[test]
    fn equal_errors_are_no_anomaly(seed: u64, errors in 0.0_f64..1.0, endpoints in 3_usize..10) {
        runtime().block_on(async {
            let (_handle, mut fleet, figures) = fleet(endpoints, AnomalyDetection::new());
            let mut rng = Rng::seeded(seed);
            for _ in 0..60 {
                interval(&mut fleet, &mut rng, 50 * endpoints, &vec![errors; endpoints]).await;
            }
            prop_assert_eq!(figures.status().counts.began, 0);
            Ok(())
        })?;
    }
}
