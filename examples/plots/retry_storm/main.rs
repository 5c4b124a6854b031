//! The effect of retries on overloaded servers, and the effect of a retry budget. Four servers get
//! 110 % of their capacity for a minute of virtual time.
//!
//! `cargo run --release -p tower-lb-plots --example retry_storm [file.svg]` prints a table. With a
//! file name, it also draws a plot over time.

mod simulation;

use std::{error::Error, thread};

use plotters::prelude::*;
use simulation::{CAPACITY, Client, Phases, Second, recovery, run, under_overload};

const PHASES: Phases = [(0.7, 20), (1.1, 60), (0.7, 60)];

fn main() -> Result<(), Box<dyn Error>> {
    let runs = Client::ALL.map(|client| thread::spawn(move || run(client, PHASES, 1)));
    let runs = runs.map(|run| run.join().expect("no panic"));
    println!("| clients | goodput under overload | attempts per request | recovery |");
    println!("|---|---:|---:|---:|");
    for (client, seconds) in Client::ALL.iter().zip(&runs) {
        let (good, attempts) = under_overload(seconds, PHASES);
        let recovery = recovery(seconds, PHASES)
            .map_or_else(|| "not within a minute".into(), |after| format!("{after} s"));
        let share = 100.0 * good / CAPACITY;
        println!("| {} | {share:.0} % of capacity | {attempts:.2} | {recovery} |", client.name());
    }
    if let Some(file) = std::env::args().nth(1) {
        draw(&file, &runs)?;
        println!("\nPlot written to {file}");
    }
    Ok(())
}

fn draw(path: &str, runs: &[Vec<Second>]) -> Result<(), Box<dyn Error>> {
    let colors = [
        RGBColor(120, 120, 120),
        RGBColor(200, 30, 30),
        RGBColor(20, 110, 190),
        RGBColor(20, 140, 80),
    ];
    let root = SVGBackend::new(path, (900, 620)).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(310);
    let panels: [(_, &str, f64, fn(&Second) -> u32); 2] = [
        (upper, "successes a second", 1000.0, |second| second.good),
        (lower, "attempts a second", 4000.0, |second| second.attempts),
    ];
    for (area, title, most, of) in panels {
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 16))
            .margin(8)
            .x_label_area_size(28)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..runs[0].len() as f64, 0.0..most)?;
        chart.configure_mesh().light_line_style(WHITE).x_desc("s").draw()?;
        let overload = [(PHASES[0].1, 0.0), (PHASES[0].1 + PHASES[1].1, most)];
        let overload = overload.map(|(x, y)| (x as f64, y));
        chart.draw_series([Rectangle::new(overload, RGBColor(250, 240, 215).mix(0.6).filled())])?;
        for ((seconds, client), color) in runs.iter().zip(Client::ALL).zip(colors) {
            let points =
                seconds.iter().enumerate().map(|(s, second)| (s as f64, f64::from(of(second))));
            chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)))?
                .label(client.name())
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2))
                });
        }
        if most < 2000.0 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::LowerLeft)
                .background_style(WHITE.mix(0.8))
                .draw()?;
        }
    }
    root.present()?;
    Ok(())
}
