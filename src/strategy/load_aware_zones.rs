use std::{
    collections::BTreeMap,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Candidates, InvalidParameter, Strategy,
    parameter::share,
    part::either,
    ticker::Ticker,
    utilization::UtilizationMeter,
    zones::{Zone, ZoneView, Zones, ZonesPicker},
};
use crate::{endpoint::Locality, outcome::Meter};

/// Keeps requests in the zone that they come from until it is hotter than the others.
///
/// Endpoints report their utilization ([`LoadReport`](crate::outcome::LoadReport)). Once a second each
/// zone's mean is taken and smoothed. All requests stay as long as the local zone is busier than the
/// others by no more than 0.1 ([`tolerance`](Self::tolerance)); from there on each zone gets requests
/// in proportion to the idle capacity that it has. 3 % always go to the other zones
/// ([`remote_share`](Self::remote_share)), so that one knows how they are. Zones without a report
/// younger than three minutes count as idle.
///
/// Source: Envoy's load-aware locality policy. Where we differ: endpoints count by their weight.
#[derive(Clone, Debug)]
pub struct LoadAwareZones<St> {
    zones: Zones<St>,
    tolerance: f64,
    remote_share: f64,
    metrics: Arc<[String]>,
    smoothed: BTreeMap<Zone, f64>,
    smoothed_at: Option<Instant>,
    ticker: Ticker,
    /// As of the last picker.
    candidates: Option<Candidates>,
    shares: Vec<f64>,
}

const PERIOD: Duration = Duration::from_secs(1);
const EXPIRY: Duration = Duration::from_secs(180);
/// Time constant, in seconds, of the smoothing.
const SMOOTHING: f64 = 5.0;
/// A change of a share that is worth a new picker.
const NOTABLE: f64 = 0.002;

impl<St: Strategy + Clone> LoadAwareZones<St> {
    /// For a client in the zone `local`.
    pub fn new(local: Locality, inner: St) -> Self {
        Self {
            zones: Zones::new(local, inner),
            tolerance: 0.1,
            remote_share: 0.03,
            metrics: Arc::default(),
            smoothed: BTreeMap::new(),
            smoothed_at: None,
            ticker: Ticker::new(PERIOD),
            candidates: None,
            shares: Vec::new(),
        }
    }

    /// By how much the local zone may be busier than the mean of the others before requests leave it.
    /// Default 0.1.
    ///
    /// # Errors
    ///
    /// [`InvalidParameter`] if it is not a share from 0 to 1.
    pub fn tolerance(mut self, utilization: f64) -> Result<Self, InvalidParameter> {
        self.tolerance = share("tolerance", utilization)?;
        Ok(self)
    }

    /// The share of requests that always goes to the other zones. Default 0.03.
    ///
    /// # Errors
    ///
    /// [`InvalidParameter`] if it is not a share from 0 to 1.
    pub fn remote_share(mut self, requests: f64) -> Result<Self, InvalidParameter> {
        self.remote_share = share("remote_share", requests)?;
        Ok(self)
    }

    /// Metrics of the reports that tell the utilization, by name; see
    /// [`LoadReport::utilization`](crate::outcome::LoadReport::utilization). Default: none, so that the
    /// application's utilization counts, or else that of the processors.
    #[must_use]
    pub fn metrics(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.metrics = names.into_iter().collect();
        self
    }

    /// Smooths the utilization of each zone, and gives each its share of the requests from here.
    fn share_out(&mut self, views: &mut [ZoneView], now: Instant) {
        let passed = self.smoothed_at.map(|then| now.saturating_duration_since(then));
        self.smoothed_at = Some(now);
        let mut smoothed = BTreeMap::new();
        for view in &*views {
            let Some(reported) = utilization(&view.candidates, now) else { continue };
            let before = self.smoothed.get(&view.zone).zip(passed);
            let value = before.map_or(reported, |(before, passed)| {
                let kept = (-passed.as_secs_f64() / SMOOTHING).exp();
                before * kept + reported * (1.0 - kept)
            });
            smoothed.insert(view.zone.clone(), value);
        }
        self.smoothed = smoothed;

        let busy = |zone: &Zone| self.smoothed.get(zone).copied().unwrap_or_default();
        let sizes: Vec<_> = views.iter().map(|view| size(&view.candidates)).collect();
        for (view, size) in views.iter_mut().zip(&sizes) {
            view.share = size * (1.0 - busy(&view.zone)).max(0.0);
        }
        let all: f64 = views.iter().map(|view| view.share).sum();
        for (view, size) in views.iter_mut().zip(&sizes) {
            view.share =
                if all > 0.0 { view.share / all } else { *size / sizes.iter().sum::<f64>() };
        }
        let Some((local, others)) = views.split_first_mut() else { return };
        if !self.zones.is_local(&local.zone) || others.is_empty() {
            return;
        }
        let elsewhere: f64 = sizes[1..].iter().sum();
        let beside = others.iter().zip(&sizes[1..]);
        let mean = beside.map(|(view, size)| busy(&view.zone) * size).sum::<f64>() / elsewhere;
        if busy(&local.zone) <= mean + self.tolerance {
            local.share = 1.0;
            others.iter_mut().for_each(|view| view.share = 0.0);
        }
        let lacking = (self.remote_share - (1.0 - local.share)).max(0.0);
        local.share -= lacking;
        for (view, size) in others.iter_mut().zip(&sizes[1..]) {
            view.share += lacking * size / elsewhere;
        }
    }
}

fn size(candidates: &Candidates) -> f64 {
    candidates.iter().map(|candidate| f64::from(candidate.weight())).sum()
}

/// The mean of what the endpoints have reported, if any has of late.
fn utilization(candidates: &Candidates, now: Instant) -> Option<f64> {
    let reports = candidates.iter().filter_map(|one| UtilizationMeter::fresh(one, now, EXPIRY));
    let (sum, count) = reports.fold((0.0, 0), |(sum, count), report| (sum + report, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

impl<St: Strategy + Clone> Strategy for LoadAwareZones<St> {
    type Picker = ZonesPicker<St::Picker>;

    fn picker(&mut self, candidates: &Candidates) -> Self::Picker {
        let mut views = self.zones.split(candidates);
        self.share_out(&mut views, candidates.now());
        self.candidates = Some(candidates.clone());
        self.shares = views.iter().map(|view| view.share).collect();
        self.zones.picker(views, false)
    }

    fn eligible(&self, candidates: &Candidates) -> Candidates {
        self.zones.eligible(candidates)
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        let metrics = Arc::clone(&self.metrics);
        Some(Arc::new(UtilizationMeter::new(metrics, self.zones.meter())))
    }

    fn notices(&self) -> Vec<String> {
        self.zones.notices()
    }

    fn poll_update(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let inner = self.zones.poll_update(cx);
        let mut own = Poll::Pending;
        while let Poll::Ready(now) = self.ticker.poll_tick(cx) {
            let Some(candidates) = &self.candidates else { continue };
            let mut views = self.zones.split(candidates);
            self.share_out(&mut views, now);
            let mut changes = views.iter().zip(&self.shares);
            if changes.any(|(view, share)| (view.share - share).abs() > NOTABLE) {
                own = Poll::Ready(Some(()));
            }
        }
        either(own, inner)
    }
}
