//! Plots of the tables.

use std::{error::Error, path::Path};

use plotters::{
    coord::{Shift, ranged1d::AsRangedCoord},
    prelude::*,
};

use crate::measure::Measured;

/// Colours that are distinguishable on white.
const COLORS: [RGBColor; 10] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(230, 120, 10),
    RGBColor(23, 170, 190),
    RGBColor(140, 86, 75),
    RGBColor(210, 90, 170),
    RGBColor(90, 90, 90),
    RGBColor(160, 160, 20),
];

type Chart<'a, X, Y> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>;

/// A run and its name.
pub type Named<'a> = (&'a str, &'a Measured);

/// Draws the share of requests that take longer than a latency.
///
/// # Errors
///
/// Fails if the plot cannot be written to `file`.
pub fn latencies(file: &Path, caption: &str, runs: &[Named<'_>]) -> Result<(), Box<dyn Error>> {
    let longest = runs.iter().map(|(_, run)| run.quantile(0.9999)).fold(0.001, f64::max);
    let area = SVGBackend::new(file, (960, 600)).into_drawing_area();
    let mut chart =
        chart(&area, caption, (1.0..longest * 1e3).log_scale(), (1e-4..1.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("latency, ms")
        .y_desc("share of requests that take longer")
        .x_label_formatter(&|ms| format!("{ms:.0}"))
        .y_label_formatter(&|share| format!("{} %", share * 100.0))
        .light_line_style(WHITE)
        .draw()?;
    for (index, (name, run)) in runs.iter().enumerate() {
        // The points are evenly spaced in the logarithm of the remaining share.
        let points = (0..200).map(|step| {
            let left = 10_f64.powf(-4.0 * f64::from(step) / 199.0);
            (run.quantile(1.0 - left).max(0.001) * 1e3, left)
        });
        line(&mut chart, index, name, points.collect())?;
    }
    legend(&mut chart, SeriesLabelPosition::UpperRight)?;
    area.present()?;
    Ok(())
}

/// Draws the share of requests that succeed in each second.
///
/// # Errors
///
/// Fails if the plot cannot be written to `file`.
pub fn goodput(file: &Path, caption: &str, runs: &[Named<'_>]) -> Result<(), Box<dyn Error>> {
    let seconds = runs.iter().map(|(_, run)| run.seconds.len()).max().unwrap_or(1);
    let area = SVGBackend::new(file, (960, 600)).into_drawing_area();
    let mut chart = chart(&area, caption, 0.0..seconds as f64, 0.0..1.2)?;
    chart
        .configure_mesh()
        .x_desc("seconds")
        .y_desc("successes per request")
        .light_line_style(WHITE)
        .draw()?;
    for (index, (name, run)) in runs.iter().enumerate() {
        let each = run.seconds.iter().enumerate();
        let points = each.map(|(at, second)| {
            (at as f64, f64::from(second.succeeded) / f64::from(second.arrived.max(1)))
        });
        line(&mut chart, index, name, points.collect())?;
    }
    legend(&mut chart, SeriesLabelPosition::UpperRight)?;
    area.present()?;
    Ok(())
}

/// Draws a tail in ms by the load.
///
/// # Errors
///
/// Fails if the plot cannot be written to `file`.
pub fn ramp(
    file: &Path,
    caption: &str,
    lines: &[(&str, Vec<(f64, f64)>)],
) -> Result<(), Box<dyn Error>> {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let loads = points()
        .fold((f64::MAX, 0.0_f64), |(least, most), (load, _)| (load.min(least), load.max(most)));
    let tails = points().fold((f64::MAX, 1.0_f64), |(least, most), (_, tail)| {
        (tail.max(1.0).min(least), tail.max(most))
    });
    let area = SVGBackend::new(file, (960, 600)).into_drawing_area();
    let mut chart = chart(&area, caption, loads.0..loads.1, (tails.0..tails.1).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("load over allocation")
        .y_desc("p99, ms")
        .y_label_formatter(&|ms| format!("{ms:.0}"))
        .light_line_style(WHITE)
        .draw()?;
    for (index, (name, points)) in lines.iter().enumerate() {
        line(&mut chart, index, name, points.clone())?;
    }
    legend(&mut chart, SeriesLabelPosition::UpperLeft)?;
    area.present()?;
    Ok(())
}

fn chart<'a, X, Y>(
    area: &DrawingArea<SVGBackend<'a>, Shift>,
    caption: &str,
    x: X,
    y: Y,
) -> Result<Chart<'a, X::CoordDescType, Y::CoordDescType>, Box<dyn Error>>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
{
    area.fill(&WHITE)?;
    let mut builder = ChartBuilder::on(area);
    builder.caption(caption, ("sans-serif", 22)).margin(16);
    builder.x_label_area_size(44).y_label_area_size(64);
    Ok(builder.build_cartesian_2d(x, y)?)
}

fn line<'a, X, Y>(
    chart: &mut Chart<'a, X, Y>,
    index: usize,
    name: &str,
    points: Vec<(f64, f64)>,
) -> Result<(), Box<dyn Error>>
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    let color = COLORS[index % COLORS.len()].to_rgba();
    // After all colours are used, they repeat with thin lines.
    let width = if index < COLORS.len() { 3 } else { 1 };
    chart
        .draw_series(LineSeries::new(points, color.stroke_width(width)))
        .map_err(|error| error.to_string())?
        .label(name)
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(width)));
    Ok(())
}

fn legend<'a, X, Y>(
    chart: &mut Chart<'a, X, Y>,
    place: SeriesLabelPosition,
) -> Result<(), Box<dyn Error>>
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    chart
        .configure_series_labels()
        .position(place)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.2))
        .draw()
        .map_err(|error| error.to_string())?;
    Ok(())
}
