//! The dashboard, the alerts and the page of the metrics name only metrics and labels that exist.

use std::collections::BTreeSet;

use serde_json::Value;
use tower_lb::observe::metrics::{CATALOG, Kind};

const DASHBOARD: &str = include_str!("../../docs/grafana/tower-lb.json");
const ALERTS: &str = include_str!("../../docs/grafana/alerts.yml");
const PAGE: &str = include_str!("../../docs/metrics.md");

/// Labels that Prometheus adds when it scrapes.
const TARGET: [&str; 2] = ["job", "instance"];

/// Returns all metrics with their kinds and labels.
fn metrics() -> impl Iterator<Item = (&'static str, Kind, &'static [&'static str])> {
    CATALOG.iter().map(|metric| (metric.name, metric.kind, metric.labels))
}

/// Returns the labels of a series that a query names, or what is wrong with its name.
fn labels_of(series: &str) -> Result<Vec<&'static str>, String> {
    let found = metrics().find_map(|(name, kind, labels)| {
        let more: &[&str] = match (series.strip_prefix(name)?, kind) {
            ("", Kind::Counter | Kind::Gauge) | ("_sum" | "_count", Kind::Histogram) => &[],
            ("_bucket", Kind::Histogram) => &["le"],
            _ => return None,
        };
        Some([labels, more, &TARGET].concat())
    });
    found.ok_or_else(|| format!("{series} does not exist"))
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// Splits text at the end of the parenthesis or brace that it begins with.
fn enclosed(text: &str) -> (&str, &str) {
    let mut depth = 0;
    let mut is_quoted = false;
    for (index, character) in text.char_indices() {
        match character {
            '"' => is_quoted = !is_quoted,
            '(' | '{' if !is_quoted => depth += 1,
            ')' | '}' if !is_quoted => {
                depth -= 1;
                if depth == 0 {
                    return (&text[1..index], &text[index + 1..]);
                }
            }
            _ => {}
        }
    }
    panic!("{text} does not end");
}

/// Returns the series that a query names, with the labels that it selects by.
fn series(query: &str) -> Vec<(&str, Vec<&str>)> {
    let starts = query.match_indices("tower_lb_").map(|(start, _)| start);
    let read = |start: usize| {
        let rest = &query[start..];
        let (name, rest) = rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()));
        let selected = if rest.starts_with('{') { enclosed(rest).0 } else { "" };
        let labels = selected.split(", ").filter(|matcher| !matcher.is_empty());
        let labels = labels.map(|matcher| matcher.split(['=', '!']).next().unwrap().trim());
        (name, labels.collect())
    };
    starts.map(read).collect()
}

/// Checks the names of all metrics and labels of a query.
fn check(query: &str) -> Result<(), String> {
    let all = series(query);
    if all.is_empty() {
        return Err("names no metric".into());
    }
    for (name, labels) in &all {
        let known = labels_of(name)?;
        if let Some(label) = labels.iter().find(|label| !known.contains(label)) {
            return Err(format!("{name} has no label {label:?}"));
        }
    }
    // `by` groups what is in the parenthesis behind it; `on` matches two sides of which both have it.
    for (word, is_by) in [(" by (", true), (" on (", false)] {
        for (start, _) in query.match_indices(word) {
            let (labels, rest) = enclosed(&query[start + word.len() - 1..]);
            let grouped = if is_by { enclosed(rest.trim_start()).0 } else { query };
            for (name, _) in series(grouped) {
                let known = labels_of(name)?;
                for label in labels.split(", ") {
                    if !known.contains(&label) {
                        return Err(format!("{name} is grouped by {label:?}, which it has not"));
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn queries_with_mistakes_are_found() {
    for query in [
        "up",
        "tower_lb_request_total",
        "tower_lb_first_byte_seconds",
        "tower_lb_picks_total_bucket",
        "tower_lb_picks_total{outcome=\"success\"}",
        "tower_lb_picks_total{balancer=\"}\", le=\"1\"}",
        "sum by (outcome) (rate(tower_lb_picks_total[5m]))",
        "sum by (le) (rate(tower_lb_wait_seconds_sum[5m]))",
        "tower_lb_notices * on (endpoint) tower_lb_waiting",
    ] {
        assert!(check(query).is_err(), "{query}");
    }
    for query in [
        "sum by (balancer, le) (rate(tower_lb_wait_seconds_bucket{balancer=~\"a|b\"}[5m]))",
        "max(tower_lb_notices) / sum by (state) (tower_lb_endpoints{job=\"x\", state!=\"}\"})",
    ] {
        assert_eq!(check(query), Ok(()), "{query}");
    }
}

fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    dashboard["panels"].as_array().unwrap().clone()
}

#[test]
fn the_dashboard_can_be_provisioned() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    assert!(dashboard["id"].is_null() && dashboard["uid"] == "tower-lb");
    assert!(!DASHBOARD.contains("__inputs") && !DASHBOARD.contains("${DS_"), "only for the UI");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> =
        variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "balancer", "endpoint"]);
    for variable in &variables[1..] {
        let query = variable["query"]["query"].as_str().unwrap();
        let inner = query.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
        let (metric, label) = inner.rsplit_once(", ").unwrap();
        assert_eq!(check(metric), Ok(()));
        assert!(labels_of(series(metric)[0].0).unwrap().contains(&label), "{query}");
    }
}

#[test]
fn the_panels_have_ids_and_do_not_overlap() {
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        let (x, y, width, height) = (place("x"), place("y"), place("w"), place("h"));
        assert!(width > 0 && height > 0 && x + width <= 24, "{title}");
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} covers another panel");
        }
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
            assert!(panel["description"].as_str().is_some_and(|text| text.len() > 10), "{title}");
            assert!(
                panel["fieldConfig"]["defaults"]["unit"].is_string()
                    || panel["type"] == "state-timeline",
                "{title}"
            );
        }
    }
}

#[test]
fn the_queries_of_the_dashboard_name_what_exists() {
    let mut count = 0;
    for panel in panels().iter().filter(|panel| panel["type"] != "row") {
        for target in panel["targets"].as_array().unwrap() {
            let (title, query) = (&panel["title"], target["expr"].as_str().unwrap());
            assert_eq!(check(query), Ok(()), "{title}: {query}");
            let is_rate = query.contains("rate(") || query.contains("increase(");
            assert_eq!(is_rate, query.contains("[$__rate_interval]"), "{title}: {query}");
            // A legend shows labels that are left after grouping.
            for label in target["legendFormat"].as_str().unwrap().split("{{").skip(1) {
                let label = label.split("}}").next().unwrap();
                let is_left = query.match_indices(" by (").any(|(start, word)| {
                    let (labels, _) = enclosed(&query[start + word.len() - 1..]);
                    labels.split(", ").any(|one| one == label)
                });
                assert!(is_left, "{title}: {label}");
            }
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}

#[test]
fn every_metric_is_in_the_dashboard() {
    for (name, ..) in metrics() {
        let is_used = panels().iter().any(|panel| {
            let targets = panel["targets"].as_array().into_iter().flatten();
            targets.into_iter().any(|target| target["expr"].as_str().unwrap().contains(name))
        });
        assert!(is_used, "{name}");
    }
}

#[test]
fn the_alerts_name_what_exists() {
    let lines = ALERTS.lines().filter(|line| !line.trim_start().starts_with('#'));
    let text = lines.collect::<Vec<_>>().join(" ");
    let rules: Vec<_> = text.split("- alert: ").skip(1).collect();
    assert_eq!(rules.len(), 5);
    for rule in rules {
        let (query, rest) = rule.split_once("expr: ").unwrap().1.split_once(" for: ").unwrap();
        assert_eq!(check(query), Ok(()), "{rule}");
        for part in ["severity: ", "summary: ", "description: "] {
            assert!(rest.contains(part), "{rule}");
        }
        // Panels that a description names.
        let description = rest.split_once("description: ").unwrap().1;
        let titles: Vec<_> = description.split('"').skip(1).step_by(2).collect();
        assert!(!titles.is_empty(), "{description}");
        for title in titles {
            let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(panels().iter().any(|panel| panel["title"] == *title), "{title}");
        }
    }
}

#[test]
fn the_page_lists_the_catalog() {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `tower_lb_"));
    let mut listed = BTreeSet::new();
    for row in rows {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let name = format!("tower_lb_{}", cells[0].trim_matches('`'));
        let (_, kind, labels) = metrics()
            .find(|(known, ..)| *known == name)
            .unwrap_or_else(|| panic!("{name} does not exist"));
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            other => panic!("{other:?}"),
        };
        assert_eq!(cells[1], kind, "{name}");
        let written: Vec<_> = cells[3].split(", ").map(|label| label.trim_matches('`')).collect();
        let written: Vec<_> = written.into_iter().filter(|label| !label.is_empty()).collect();
        assert_eq!(written, labels, "{name}");
        assert_eq!(cells[2] == "s", name.contains("_seconds"), "{name}");
        assert!(listed.insert(name.clone()), "{name} is listed twice");
    }
    for (name, ..) in metrics() {
        assert!(listed.contains(name), "{name} is missing");
    }
}
