//! The share of requests with a cold start, and its cost, by strategy and traffic. There are five
//! functions, and their environments expire a minute after their last request. Time is virtual, so
//! a run takes seconds and always gives the same figures.
//!
//! `cargo run --release -p tower-lb-plots --example lambda_cold_starts [file.svg]` prints a table.
//! With a file name, it also draws a plot.

#[path = "../../tests/support/simulated_functions.rs"]
mod simulated_functions;

use std::time::Duration;

use plotters::prelude::*;
use simulated_functions::{Counts, FUNCTION, Function, MS, STAYS, simulate};
use tower_lb::{
    BoxError,
    lambda::Pack,
    strategy::{Dynamic, LeastLoaded, P2c, Random, RoundRobin},
};

const FUNCTIONS: [Function; 5] = [Function { latency: MS.saturating_mul(500), ..FUNCTION }; 5];
/// Requests a second.
const RATES: [f64; 13] = [0.003, 0.006, 0.01, 0.03, 0.06, 0.1, 0.3, 0.6, 1.0, 3.0, 6.0, 10.0, 30.0];
const REQUESTS: f64 = 30_000.0;

fn strategies() -> [(&'static str, Dynamic<()>); 5] {
    [
        ("Pack", Dynamic::new(Pack::new().warm_for(STAYS))),
        ("RoundRobin", Dynamic::new(RoundRobin::starting_at(0))),
        ("Random", Dynamic::new(Random)),
        ("P2c", Dynamic::new(P2c::default())),
        ("LeastLoaded", Dynamic::new(LeastLoaded::default())),
    ]
}

struct Line {
    name: &'static str,
    /// The counts for each of the `RATES`.
    counts: Vec<Counts>,
}

fn all(counts: &Counts) -> f64 {
    counts.requests.iter().sum::<u32>().into()
}

fn cold(counts: &Counts) -> f64 {
    f64::from(counts.cold_starts) / all(counts)
}

fn main() -> Result<(), BoxError> {
    let lines = strategies().map(|(name, strategy)| {
        let counts = RATES.map(|rate| {
            let time = Duration::from_secs_f64(REQUESTS / rate);
            simulate(strategy.clone(), &FUNCTIONS, time, |_| rate)
        });
        Line { name, counts: counts.into() }
    });
    let shown = |index: &usize| index % 3 == 2;
    let rates = RATES.iter().enumerate().filter(|(index, _)| shown(index));
    let titles: String = rates.map(|(_, rate)| format!(" {rate} |")).collect();
    println!("| cold starts and billed seconds, by requests a second |{titles}");
    println!("|---|{}", "---:|".repeat(titles.matches('|').count()));
    for Line { name, counts } in &lines {
        let counts = counts.iter().enumerate().filter(|(index, _)| shown(index));
        let cells = counts.map(|(_, counts)| {
            let ran = counts.ran.as_secs_f64() / all(counts);
            format!(" {:.2} %, {ran:.3} s |", cold(counts) * 100.0)
        });
        println!("| `{name}` |{}", cells.collect::<String>());
    }
    if let Some(file) = std::env::args().nth(1) {
        draw(&lines, &file)?;
        println!("\nPlot written to {file}");
    }
    Ok(())
}

/// Draws the share of cold starts by the rate of requests.
fn draw(lines: &[Line], file: &str) -> Result<(), BoxError> {
    let area = SVGBackend::new(file, (960, 600)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("Share of requests that have a cold start", ("sans-serif", 22))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d((0.003..30.0).log_scale(), (1e-4..1.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("requests a second, over five functions")
        .y_desc("share of requests")
        .x_label_formatter(&|rate| format!("{rate}"))
        .y_label_formatter(&|share| format!("{} %", share * 100.0))
        .light_line_style(WHITE)
        .draw()?;
    for (index, Line { name, counts }) in lines.iter().enumerate() {
        let color = Palette99::pick(index).stroke_width(2);
        let points = RATES.iter().zip(counts).map(|(&rate, counts)| (rate, cold(counts).max(1e-4)));
        chart
            .draw_series(LineSeries::new(points, color))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.2))
        .draw()?;
    area.present()?;
    Ok(())
}
