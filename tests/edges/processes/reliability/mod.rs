//! Real processes that are killed, stopped, restarted, that fail and are slow, under a steady load: how
//! long until nobody is sent to the broken one, and how many requests it cost.
//!
//! The tests are the part that is quick enough for every commit. The whole table, with Envoy beside, is
//! `cargo test --release -p tower-lb-edge-tests --test processes -- --ignored --nocapture reliability::table`; see `docs/reliability.md`.
mod backend;
mod envoy;
mod load;
mod ours;
mod report;
mod servers;

use std::time::Duration;

use backend::{Backend, Fault, Kind};
use load::Load;
use ours::Choosing;
use report::Report;

const SECOND: Duration = Duration::from_secs(1);

/// Who balances.
#[derive(Clone, Copy, Debug)]
enum Balancer {
    Ours(Choosing),
    Envoy,
    /// An Envoy that doesn't end an ejection because active checks pass.
    PatientEnvoy,
}

/// A steady load before, while and after the first backend has a fault.
async fn trial(
    balancer: Balancer,
    mut fleet: Vec<Backend>,
    fault: Fault,
    times: [Duration; 3],
) -> Option<Report> {
    let backends = fleet.len();
    let addresses: Vec<_> = fleet.iter().map(|backend| backend.address).collect();
    let (ask, _envoy) = match balancer {
        Balancer::Ours(choosing) => (ours::ask(&addresses, choosing), None),
        Balancer::Envoy | Balancer::PatientEnvoy => {
            let patient = matches!(balancer, Balancer::PatientEnvoy);
            let envoy = envoy::Envoy::start(&addresses, patient).await?;
            (envoy.ask(), Some(envoy))
        }
    };
    let [before, during, after] = times;
    let load = Load::start(ask, 100 * backends.min(6) as u32);
    tokio::time::sleep(before).await;
    let broken = load.now();
    fleet[0].suffer(fault, during).await;
    let mended = load.now();
    tokio::time::sleep(after).await;
    let answers = load.stop().await;
    Some(Report::new(&answers, fleet[0].name(), backends, broken, mended))
}

async fn short_trial(fault: Fault) -> Report {
    let times = [SECOND, 3 * SECOND, 4 * SECOND];
    let ours = Balancer::Ours(Choosing::RoundRobin);
    let report = trial(ours, backend::fleet(&[Kind::Own; 3]).await, fault, times).await.unwrap();
    println!("{fault:?}: {report}");
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_backend_costs_what_the_threshold_needs() {
    let report = short_trial(Fault::Killed).await;
    // Five in a row, those in flight, and those sent until the driver has run.
    assert!(report.failed <= 25, "{report}");
    assert!(report.last_bad < SECOND, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_backend_is_left_before_its_requests_time_out() {
    let report = short_trial(Fault::Stopped).await;
    assert!(report.last_bad < 2500 * SECOND / 1000, "{report}");
    assert!(report.last_bad < ours::TIMEOUT, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_fails_fast_costs_what_the_threshold_needs() {
    let report = short_trial(Fault::Failing).await;
    assert!((5..=25).contains(&report.failed), "{report}");
    assert!(report.last_bad < SECOND, "{report}");
}

/// A fleet that is replaced one by one, each drained first, loses no request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_nothing() {
    let mut fleet = backend::fleet(&[Kind::Own; 3]).await;
    let addresses: Vec<_> = fleet.iter().map(|backend| backend.address).collect();
    let (handle, mut drained, ask) = ours::with_draining(&addresses);
    let load = Load::start(ask, 300);
    tokio::time::sleep(SECOND / 2).await;
    for backend in &mut fleet {
        handle.drain(backend.address);
        assert_eq!(drained.recv().await, Some(backend.address.to_string()));
        backend.kill();
        backend.restart().await;
        handle.restore(backend.address);
        tokio::time::sleep(SECOND / 2).await;
    }
    let answers = load.stop().await;
    let failed = answers.iter().filter(|answer| answer.by.is_none()).count();
    assert_eq!(failed, 0, "of {}", answers.len());
    assert!(answers.len() > 500);
}

/// nginx closes a connection after 50 requests here, as it does after 1000 by default; HAProxy is
/// restarted on its port.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_others_are_checked_left_and_taken_back() {
    if !servers::are_installed() {
        return;
    }
    let times = [2 * SECOND, 3 * SECOND, 4 * SECOND];
    let ours = || Balancer::Ours(Choosing::RoundRobin);
    let (hung, killed) = tokio::join!(
        async {
            let fleet = backend::fleet(&[Kind::Nginx, Kind::Haproxy, Kind::Own]).await;
            trial(ours(), fleet, Fault::Stopped, times).await.unwrap()
        },
        async {
            let fleet = backend::fleet(&[Kind::Haproxy, Kind::Nginx, Kind::Own]).await;
            trial(ours(), fleet, Fault::Killed, times).await.unwrap()
        },
    );
    println!("nginx hung: {hung}\nHAProxy killed: {killed}");
    for report in [hung, killed] {
        assert_eq!(report.failed_before, 0, "{report}");
        assert!(report.last_bad < 2500 * SECOND / 1000, "{report}");
        assert!(report.back.is_some(), "{report}");
    }
}

/// Every fault, with 3 and with 20 backends, with ours and with Envoy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a quarter of an hour"]
async fn table() {
    println!(
        "| fault | backends | balancer | failed | slow | last bad | back after | whole after |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let only = std::env::var("FAULT").ok();
    for fault in Fault::ALL {
        if only.as_ref().is_some_and(|only| *only != format!("{fault:?}")) {
            continue;
        }
        for backends in [3, 20] {
            let balancers = [
                Balancer::Envoy,
                Balancer::PatientEnvoy,
                Balancer::Ours(Choosing::RoundRobin),
                Balancer::Ours(Choosing::P2c),
            ];
            for balancer in balancers {
                // It makes a difference only where checks pass while the backend is out.
                let flaps = matches!(fault, Fault::Flapping);
                if matches!(balancer, Balancer::PatientEnvoy) && !flaps {
                    continue;
                }
                let times = [2 * SECOND, 6 * SECOND, 14 * SECOND];
                let fleet = backend::fleet(&vec![Kind::Own; backends]).await;
                match trial(balancer, fleet, fault, times).await {
                    Some(report) => {
                        println!("| {fault:?} | {backends} | {balancer:?} {}", report.row())
                    }
                    None => {
                        println!("SKIPPED {balancer:?}: not installed, see docs/reliability.md")
                    }
                }
            }
        }
    }
}
