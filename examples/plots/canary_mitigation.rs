//! A bad version that is rolled out to 5, 50 and 100 % of the targets: the share of requests that
//! it gets, with automatic target weights and without. Its requests fail in 30 of 100 cases, those
//! of the good version in 1 of 100. Time is virtual, so a run takes seconds and always gives the
//! same figures.
//!
//! `cargo run --release -p tower-lb-plots --example canary_mitigation [file.svg]` prints a table.
//! With a file name, it also draws a plot.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{Request, Response, StatusCode};
use plotters::prelude::*;
use tokio::time::sleep;
use tower::{ServiceExt, service_fn};
use tower_lb::{
    BoxError, Endpoint,
    balance::Builder,
    discover,
    health::{AnomalyDetection, HealthExt},
    strategy::{Random, Rng},
};

const TARGETS: usize = 20;
/// When the new version is on this many targets, in seconds from the start.
const ROLLOUT: [(u64, usize); 4] = [(0, 0), (60, 1), (360, 10), (660, 20)];
const SECONDS: u64 = 900;
const REQUESTS_A_SECOND: u64 = 200;
const STEP: u64 = 10;

/// What the clients saw in one step.
#[derive(Clone, Copy, Default)]
struct Step {
    requests: u64,
    of_new_version: u64,
    failed: u64,
}

fn targets_with_new_version(second: u64) -> usize {
    ROLLOUT.iter().rev().find(|(from, _)| second >= *from).map_or(0, |(_, targets)| *targets)
}

async fn simulate(mitigate: bool) -> Result<Vec<Step>, BoxError> {
    let second = Arc::new(AtomicU64::new(0));
    let endpoints = (0..TARGETS).map(|target| {
        let second = Arc::clone(&second);
        let rng = Arc::new(Mutex::new(Rng::seeded(target as u64)));
        let service = service_fn(move |_: Request<()>| {
            let is_new = target < targets_with_new_version(second.load(Relaxed));
            let errors = if is_new { 0.3 } else { 0.01 };
            let fails = rng.lock().is_ok_and(|mut rng| rng.unit() < errors);
            let status = if fails { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
            let mut response = Response::new(http_body_util::Empty::<bytes::Bytes>::new());
            *response.status_mut() = status;
            response.extensions_mut().insert(is_new);
            async { Ok::<_, BoxError>(response) }
        });
        (target, Endpoint::new(service))
    });
    let detection = AnomalyDetection::new().mitigate(mitigate);
    let targets = discover::list(endpoints).anomaly_detected(detection)?;
    let balancer = Builder::http().seed(1).spawn(Random, targets)?;

    let mut steps = Vec::new();
    let pause = Duration::from_secs(1).div_f64(REQUESTS_A_SECOND as f64);
    for now in 0..SECONDS {
        second.store(now, Relaxed);
        if now % STEP == 0 {
            steps.push(Step::default());
        }
        for _ in 0..REQUESTS_A_SECOND {
            sleep(pause).await;
            let response = balancer.clone().oneshot(Request::new(())).await?;
            if let Some(step) = steps.last_mut() {
                step.requests += 1;
                step.of_new_version += u64::from(response.extensions().get() == Some(&true));
                step.failed += u64::from(response.status().is_server_error());
            }
        }
    }
    Ok(steps)
}

fn share(part: u64, of: u64) -> f64 {
    part as f64 / of.max(1) as f64
}

fn main() -> Result<(), BoxError> {
    let run = |mitigate| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build()?.block_on(simulate(mitigate))
    };
    let lines = [("without mitigation", run(false)?), ("automatic target weights", run(true)?)];
    println!("| | 5 % of the targets | 50 % | 100 % |\n|---|---:|---:|---:|");
    for (name, steps) in &lines {
        let stage = |from: u64, to: u64| {
            let steps = &steps[(from / STEP) as usize..(to / STEP) as usize];
            let sum = |of: fn(&Step) -> u64| steps.iter().map(of).sum::<u64>();
            let all = sum(|step| step.requests);
            let (new, failed) = (sum(|step| step.of_new_version), sum(|step| step.failed));
            let percent = |part| share(part, all) * 100.0;
            format!("{:.1} % of the requests, {:.1} % failed", percent(new), percent(failed))
        };
        println!("| {name} | {} | {} | {} |", stage(60, 360), stage(360, 660), stage(660, SECONDS));
    }
    if let Some(file) = std::env::args().nth(1) {
        draw(&lines, &file)?;
        println!("\nPlot written to {file}");
    }
    Ok(())
}

/// Draws the share of requests that the new version gets over time.
fn draw(lines: &[(&str, Vec<Step>)], file: &str) -> Result<(), BoxError> {
    let area = SVGBackend::new(file, (960, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    let title = "Requests to a bad version on 5, 50 and 100 % of the targets";
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 22))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..SECONDS as f64, 0.0..1.0)?;
    chart
        .configure_mesh()
        .x_desc("seconds")
        .y_desc("share of requests")
        .y_label_formatter(&|share: &f64| format!("{:.0} %", share * 100.0))
        .light_line_style(WHITE)
        .draw()?;
    for (index, (name, steps)) in lines.iter().enumerate() {
        let color = Palette99::pick(index).stroke_width(2);
        let points = steps.iter().enumerate().map(|(step, counts)| {
            ((step as u64 * STEP) as f64, share(counts.of_new_version, counts.requests))
        });
        chart
            .draw_series(LineSeries::new(points, color))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.2))
        .draw()?;
    area.present()?;
    Ok(())
}
