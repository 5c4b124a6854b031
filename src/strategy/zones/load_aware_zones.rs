use std::{collections::BTreeMap, sync::Arc, task::Poll, time::Duration};

use futures::stream::poll_fn;
use tokio::time::Instant;

use super::zones::{Zone, ZoneView, Zones, ZonesPicker};
use crate::{
    ConfigError,
    endpoint::Locality,
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidates, Strategy, round_robin::utilization::UtilizationMeter,
        ticker::Ticker,
    },
    sync::{Mutex, lock},
};

/// Keeps requests in the client's zone until that is busier than the others.
///
/// Endpoints report their utilization ([`LoadReport`](crate::outcome::LoadReport)). Once a second
/// the mean of each zone is computed and smoothed. All requests stay in the local zone as long as
/// it is busier than the others by at most 0.1 ([`tolerance`](Self::tolerance)). Above that, each
/// zone gets requests in proportion to its idle capacity. At least 3 % always go to the other zones
/// ([`remote_share`](Self::remote_share)), so that their state is known. Zones without a report
/// younger than three minutes count as idle.
///
/// Source: Envoy's load-aware locality policy. Where this differs: endpoints count by their weight.
#[derive(Debug)]
pub struct LoadAwareZones<St> {
    zones: Zones<St>,
    rule: Rule,
    metrics: Arc<[String]>,
    /// Shared with the rebuild events, and kept from picker to picker.
    smoothed: Arc<Mutex<Smoothed>>,
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    tolerance: f64,
    remote_share: f64,
}

/// The smoothed utilization of each zone that reports any.
#[derive(Clone, Debug, Default)]
struct Smoothed {
    by_zone: BTreeMap<Zone, f64>,
    at: Option<Instant>,
}

const PERIOD: Duration = Duration::from_secs(1);
const EXPIRY: Duration = Duration::from_secs(180);
/// The time constant of the smoothing.
const SMOOTHING_SECS: f64 = 5.0;
/// The change of a share from which a new picker is built.
const MIN_CHANGE: f64 = 0.002;

impl<St: Strategy + Clone> LoadAwareZones<St> {
    /// Balances for a client in the zone `local`.
    pub fn new(local: Locality, inner: St) -> Self {
        let rule = Rule { tolerance: 0.1, remote_share: 0.03 };
        let zones = Zones::new(local, inner);
        Self { zones, rule, metrics: Arc::default(), smoothed: Arc::default() }
    }

    /// Sets by how much the local zone may be busier than the mean of the others before requests
    /// leave it. Default 0.1.
    ///
    /// # Errors
    ///
    /// If `utilization` is not from 0 to 1.
    pub fn tolerance(mut self, utilization: f64) -> Result<Self, ConfigError> {
        ConfigError::unless_within("tolerance", utilization, [0.0, 1.0])?;
        self.rule.tolerance = utilization;
        Ok(self)
    }

    /// Sets the share of requests that always goes to the other zones. Default 0.03.
    ///
    /// # Errors
    ///
    /// If `requests` is not from 0 to 1.
    pub fn remote_share(mut self, requests: f64) -> Result<Self, ConfigError> {
        ConfigError::unless_within("remote_share", requests, [0.0, 1.0])?;
        self.rule.remote_share = requests;
        Ok(self)
    }

    /// Sets the names of the reported metrics that stand for the utilization; see
    /// [`LoadReport::utilization`](crate::outcome::LoadReport::utilization). Without names, the
    /// application's utilization counts, or else that of the processors.
    #[must_use]
    pub fn metrics(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.metrics = names.into_iter().collect();
        self
    }
}

impl Smoothed {
    fn update(&mut self, views: &[ZoneView], now: Instant) {
        let passed = self.at.map(|then| now.saturating_duration_since(then));
        self.at = Some(now);
        // A new map, so that zones which no longer report are dropped.
        let mut by_zone = BTreeMap::new();
        for view in views {
            let Some(reported) = utilization(&view.eligible, now) else { continue };
            let before = self.by_zone.get(&view.zone).zip(passed);
            let value = before.map_or(reported, |(before, passed)| {
                let kept = (-passed.as_secs_f64() / SMOOTHING_SECS).exp();
                before * kept + reported * (1.0 - kept)
            });
            by_zone.insert(view.zone.clone(), value);
        }
        self.by_zone = by_zone;
    }
}

impl Rule {
    /// Smooths the utilization of each zone, and sets each zone's share of this client's requests.
    fn share_out(self, smoothed: &Mutex<Smoothed>, views: &mut [ZoneView], now: Instant) {
        let mut smoothed = lock(smoothed);
        smoothed.update(views, now);
        let busy = |zone: &Zone| smoothed.by_zone.get(zone).copied().unwrap_or_default();
        let sizes: Vec<_> = views.iter().map(ZoneView::size).collect();
        // First by idle capacity.
        for (view, size) in views.iter_mut().zip(&sizes) {
            view.share = size * (1.0 - busy(&view.zone)).max(0.0);
        }
        let all: f64 = views.iter().map(|view| view.share).sum();
        for (view, size) in views.iter_mut().zip(&sizes) {
            view.share =
                if all > 0.0 { view.share / all } else { *size / sizes.iter().sum::<f64>() };
        }
        // Then all to the local zone, if it is not much busier, except for what the others always
        // get.
        let Some((local, others)) = views.split_first_mut() else { return };
        if !local.is_local || others.is_empty() {
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

/// Returns the mean of the endpoints' reports, or `None` if all are older than [`EXPIRY`].
fn utilization(candidates: &Candidates, now: Instant) -> Option<f64> {
    let reports = candidates.iter().filter_map(|one| UtilizationMeter::fresh(one, now, EXPIRY));
    let (sum, count) = reports.fold((0.0, 0), |(sum, count), report| (sum + report, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

impl<St: Strategy + Clone> Strategy for LoadAwareZones<St> {
    type Picker = ZonesPicker<St::Picker>;

    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<Self::Picker> {
        let Self { zones, rule, smoothed, .. } = self;
        let mut shared = Vec::new();
        let built = zones.build(candidates, context, false, |views| {
            rule.share_out(smoothed, views, candidates.now());
            shared = views.to_vec();
        });
        let (rule, smoothed) = (*rule, Arc::clone(smoothed));
        let mut ticker = Ticker::new(PERIOD);
        context.rebuild_on(poll_fn(move |cx| {
            while let Poll::Ready(now) = ticker.poll_tick(cx) {
                let mut views = shared.clone();
                rule.share_out(&smoothed, &mut views, now);
                let mut changes = views.iter().zip(&shared);
                if changes.any(|(view, before)| (view.share - before.share).abs() > MIN_CHANGE) {
                    return Poll::Ready(Some(()));
                }
            }
            Poll::Pending
        }));
        built
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        let metrics = Arc::clone(&self.metrics);
        Some(Arc::new(UtilizationMeter::new(metrics, self.zones.meter())))
    }
}

impl<St: Clone> Clone for LoadAwareZones<St> {
    /// The clone smooths separately, from the present values on.
    fn clone(&self) -> Self {
        let (zones, metrics) = (self.zones.clone(), Arc::clone(&self.metrics));
        let smoothed = Arc::new(Mutex::new(lock(&self.smoothed).clone()));
        Self { zones, rule: self.rule, metrics, smoothed }
    }
}
