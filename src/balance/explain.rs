use super::{Balancer, snapshot::UNTRIED};
use crate::{
    load::Now,
    outcome::Follow,
    strategy::{
        Explanation, Pick, PickContext, PickOutcome, Strategy,
        explain::{Purpose, explain},
    },
};

impl<S, St: Strategy, T> Balancer<S, St, T> {
    /// Explains where `request` would go now, and why: the endpoints, what each wrapper excluded,
    /// the figures that the strategy compared, and the pick.
    ///
    /// Nothing is sent, and nothing changes: no slot is taken, no turn of a round robin passes, no
    /// session moves. The endpoints that the request [has tried](crate::outcome::Attempts) count
    /// as tried.
    ///
    /// It is the pick that the next `call` of this clone would make if nothing else happened. So a
    /// strategy that draws at random is explained by one possible draw. Requests of other clones
    /// advance turns, and change loads, before that call. If the picked endpoint is not ready, the
    /// call picks again, which is not explained. A strategy from outside of this crate may not
    /// explain its picks; it is then asked for one, with the effects that has. Functions that the
    /// strategy got, such as a hash key, may be called more than once.
    ///
    /// To record the reasons of real picks, wrap the strategy in
    /// [`Explained`](crate::strategy::Explained).
    ///
    /// ```
    /// use tower::service_fn;
    /// use tower_lb::{Balancer, discover, strategy::P2c};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let echo = service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) });
    /// let endpoints = discover::list([("a", echo.into()), ("b", echo.into())]);
    /// let (balancer, driver) = Balancer::new(P2c::default(), endpoints);
    /// driver.await;
    /// println!("{}", balancer.explain(&7));
    /// # }
    /// ```
    ///
    /// ```text
    /// a picked, of 2 endpoints
    ///
    /// p2c: draws a and b; their loads are equal, so the first is picked
    ///
    ///   endpoint  in flight  score  standing
    /// → a                 0      1  picked
    ///   b                 0      1  compared
    /// ```
    ///
    /// Takes time in proportion to the number of endpoints.
    #[must_use]
    pub fn explain<Req>(&self, request: &Req) -> Explanation
    where
        St: Strategy<Picker: Pick<Req>>,
        T: Follow<Req>,
    {
        let snapshot = self.shared.snapshot.load();
        let mut rng = self.rng.clone();
        let attempts = self.tracker.attempts(request);
        let tried = attempts.map(|attempts| (attempts.tried(), attempts.number()));
        // The context that a call creates.
        let mut context = match &tried {
            Some((tried, number)) => {
                PickContext::new(&mut rng, Now::lazy(), tried).for_attempt(*number)
            }
            None if !snapshot.limited => PickContext::unrestricted(&mut rng, Now::lazy()),
            None => PickContext::new(&mut rng, Now::lazy(), &UNTRIED),
        };
        let (picked, mut explanation) = explain(
            &snapshot.picker,
            &snapshot.candidates,
            &snapshot.rules,
            Purpose::DryRun,
            request,
            &mut context,
        );
        let elsewhere = attempts.is_some_and(|attempts| attempts.is_elsewhere());
        if elsewhere && picked.is_some_and(|picked| context.has_tried(picked)) {
            explanation.outcome = PickOutcome::Refused;
        }
        explanation
    }
}
