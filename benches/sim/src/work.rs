use tower_lb::strategy::Rng;

/// The distribution of the work of requests, in seconds of one core at speed 1.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    Constant(f64),
    Exponential(f64),
    Lognormal {
        mean: f64,
        sigma: f64,
    },
    /// Negative values become 0.
    Normal {
        mean: f64,
        sd: f64,
    },
    Mixture {
        short: f64,
        long: f64,
        /// The share of long requests.
        share: f64,
    },
}

impl Work {
    pub fn draw(&self, rng: &mut Rng) -> f64 {
        match *self {
            Self::Constant(mean) => mean,
            Self::Exponential(mean) => exponential(mean, rng),
            Self::Lognormal { mean, sigma } => {
                mean * (sigma * normal(rng) - sigma * sigma / 2.0).exp()
            }
            Self::Normal { mean, sd } => (mean + sd * normal(rng)).max(0.0),
            Self::Mixture { short, long, share } => {
                if rng.unit() < share {
                    long
                } else {
                    short
                }
            }
        }
    }

    #[must_use]
    pub fn mean(&self) -> f64 {
        match *self {
            Self::Constant(mean) | Self::Exponential(mean) | Self::Lognormal { mean, .. } => mean,
            Self::Normal { mean, sd } => {
                // The mean of max(0, N) is mean * Phi(mean/sd) + sd * phi(mean/sd). Source of Phi:
                // Zelen and Severo.
                let z = mean / sd;
                let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
                let t = 1.0 / (1.0 + 0.2316419 * z);
                let series = [0.319381530, -0.356563782, 1.781477937, -1.821255978, 1.330274429];
                let tail = series.iter().rev().fold(0.0, |sum, factor| (sum + factor) * t);
                mean * (1.0 - density * tail) + sd * density
            }
            Self::Mixture { short, long, share } => short * (1.0 - share) + long * share,
        }
    }
}

pub fn exponential(mean: f64, rng: &mut Rng) -> f64 {
    -mean * (1.0 - rng.unit()).ln()
}

/// Returns a standard normal value. Source: Box and Muller; only one of the two values is used.
pub fn normal(rng: &mut Rng) -> f64 {
    let (radius, angle) = ((-2.0 * (1.0 - rng.unit()).ln()).sqrt(), rng.unit());
    radius * (2.0 * std::f64::consts::PI * angle).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_match_the_draws() {
        for work in [
            Work::Exponential(0.02),
            Work::Lognormal { mean: 0.02, sigma: 1.0 },
            Work::Normal { mean: 0.08, sd: 0.08 },
            Work::Mixture { short: 0.005, long: 0.5, share: 0.005 },
        ] {
            let mut rng = Rng::seeded(1);
            let mean = (0..400_000).map(|_| work.draw(&mut rng)).sum::<f64>() / 400_000.0;
            assert!((mean / work.mean() - 1.0).abs() < 0.02, "{work:?}: {mean}");
        }
    }
}
