use std::sync::Arc;

use super::{Explainer, Purpose, Rules, explain};
use crate::{
    ConfigError,
    escape::Escaped,
    outcome::Meter,
    strategy::{BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy},
};

/// Logs why a share of the requests go where they go, in the form of
/// [`Balancer::explain`](crate::Balancer::explain).
///
/// Each logged pick is one `tracing` event of level `DEBUG` with the target `tower_lb::pick` and
/// the fields `balancer`, `picked`, `outcome` and `why`. It explains the pick that the request
/// follows, not another draw. For a request that waits, or that is retried, there is more than one
/// pick, and each may be logged.
///
/// Put it around all other wrappers: what is outside of it is not explained.
///
/// ```
/// use tower_lb::strategy::{Explained, P2c, Tiers};
///
/// // One request in a thousand.
/// let strategy = Explained::new(0.001, Tiers::new(P2c::default()))?;
/// # Ok::<(), tower_lb::ConfigError>(())
/// ```
///
/// A pick that is not logged costs one random number. One that is logged allocates, and takes time
/// in proportion to the number of endpoints: with many endpoints, log a small share. While no
/// subscriber is interested in the event, nothing is explained. The balancer's seed decides which
/// picks are logged.
#[derive(Clone, Debug)]
pub struct Explained<St> {
    inner: St,
    share: f64,
}

impl<St> Explained<St> {
    /// Logs a share of `share` of the picks of `inner`, from 0 to 1.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] unless `share` is from 0 to 1.
    pub fn new(share: f64, inner: St) -> Result<Self, ConfigError> {
        ConfigError::unless_within("share", share, [0.0, 1.0])?;
        Ok(Self { inner, share })
    }
}

impl<St: Strategy> Strategy for Explained<St> {
    type Picker = ExplainedPicker<St::Picker>;

    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<Self::Picker> {
        let balancer = context.balancer().map(Arc::from);
        let built = self.inner.build(candidates, context);
        let rules = built.rules();
        let (share, candidates) = (self.share, built.eligible.restored(candidates));
        built.map(|inner| ExplainedPicker { inner, share, candidates, rules, balancer })
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.inner.meter()
    }
}

/// The picker of [`Explained`].
#[derive(Debug)]
#[expect(unnameable_types, reason = "named as <Explained<St> as Strategy>::Picker")]
pub struct ExplainedPicker<P> {
    inner: P,
    share: f64,
    /// All candidates, with those eligible that `inner` may pick.
    candidates: Candidates,
    rules: Rules,
    /// The name of the balancer, if it has one.
    balancer: Option<Arc<str>>,
}

impl<P> ExplainedPicker<P> {
    #[cold]
    fn pick_and_log<Req>(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate>
    where
        P: Pick<Req>,
    {
        let Self { inner, candidates, rules, .. } = self;
        let purpose = Purpose::RealPick;
        let (picked, explanation) = explain(inner, candidates, rules, purpose, request, context);
        tracing::debug!(
            target: "tower_lb::pick",
            balancer = self.balancer.as_deref(),
            picked = explanation.picked.as_deref().map(|name| tracing::field::display(Escaped(name))),
            outcome = ?explanation.outcome,
            why = %explanation.compact(),
            "pick explained"
        );
        picked
    }
}

impl<P: Pick<Req>, Req> Pick<Req> for ExplainedPicker<P> {
    #[inline]
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        // Drawn whether or not anything listens, so that a subscriber does not change the picks.
        let drawn = context.rng().unit() < self.share;
        if drawn && tracing::enabled!(target: "tower_lb::pick", tracing::Level::DEBUG) {
            return self.pick_and_log(request, context);
        }
        self.inner.pick(request, context)
    }

    fn explain(
        &self,
        request: &Req,
        context: &mut PickContext<'_>,
        explainer: &mut Explainer,
    ) -> Option<&Candidate> {
        // The draw of `pick`, so that the inner picker gets the same random numbers.
        context.rng().unit();
        explainer.pass();
        self.inner.explain(request, context, explainer)
    }
}
