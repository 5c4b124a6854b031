//! The results of a comparison.

use std::collections::HashMap;

use crate::{
    catalog::{Entry, ORACLES},
    engine,
    measure::Measured,
    scenario::{COMPARED, Scenario},
};

/// The runs of strategies in scenarios.
#[derive(Debug, Default)]
pub struct Comparison {
    runs: HashMap<(&'static str, &'static str), Vec<Measured>>,
}

impl Comparison {
    /// Runs a strategy once per seed.
    pub fn run(&mut self, scenario: &Scenario, entry: &Entry, seeds: u64) {
        let runs = (1..=seeds)
            .map(|seed| engine::run(scenario, seed, |client| (entry.client)(scenario, client)))
            .collect();
        self.runs.insert((scenario.name, entry.name), runs);
    }

    #[must_use]
    pub fn runs(&self, scenario: &str, strategy: &str) -> &[Measured] {
        let found = self.runs.iter().find(|((of, by), _)| *of == scenario && *by == strategy);
        found.map_or(&[], |(_, runs)| runs)
    }

    /// Returns the mean of `figure` over the runs.
    #[must_use]
    pub fn mean(&self, scenario: &str, strategy: &str, figure: impl Fn(&Measured) -> f64) -> f64 {
        let runs = self.runs(scenario, strategy);
        runs.iter().map(figure).sum::<f64>() / runs.len() as f64
    }

    /// Returns a quantile divided by that of the best oracle.
    #[must_use]
    pub fn over_oracle(&self, scenario: &str, strategy: &str, share: f64) -> f64 {
        let quantile = |of| self.mean(scenario, of, |run| run.quantile(share));
        let best = ORACLES.iter().map(|oracle| quantile(oracle.name)).fold(f64::INFINITY, f64::min);
        quantile(strategy) / best
    }

    /// Returns the geometric mean of [`over_oracle`](Self::over_oracle) over the [`COMPARED`]
    /// scenarios in `scenarios`.
    #[must_use]
    pub fn geometric_mean(&self, scenarios: &[Scenario], strategy: &str, share: f64) -> f64 {
        let compared = scenarios.iter().filter(|scenario| COMPARED.contains(&scenario.name));
        let ratios: Vec<f64> =
            compared.map(|scenario| self.over_oracle(scenario.name, strategy, share)).collect();
        (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len().max(1) as f64).exp()
    }

    /// Returns the probes per request over the same scenarios.
    #[must_use]
    pub fn probes(&self, scenarios: &[Scenario], strategy: &str) -> f64 {
        let compared: Vec<_> =
            scenarios.iter().filter(|one| COMPARED.contains(&one.name)).collect();
        let probes =
            compared.iter().map(|one| self.mean(one.name, strategy, Measured::probes_per_request));
        probes.sum::<f64>() / compared.len().max(1) as f64
    }
}
