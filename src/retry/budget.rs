use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::window::Window;
use crate::InvalidConfig;

/// How much may be sent beyond what was asked for: retries and hedges.
///
/// Every request deposits a share of a retry, every retry or hedge that is sent withdraws a whole one,
/// and what has not been used is forgotten after the window. Beside the deposits there is a floor for
/// services with little traffic. So in any window no more is sent than the floor's rate times the
/// window, plus the share of the requests in it and in the window before.
///
/// Clones are handles to one budget: have one for each set of endpoints, and hand it to all layers that
/// send more. A deposit is one atomic addition; every sixteenth reads the clock. Nothing waits for a
/// lock but those who withdraw.
///
/// Source: Finagle's `RetryBudget`. Where we differ: 10 % instead of 20 %, and a floor of 3 a second
/// instead of 10, because a large reserve is what a retry storm lives on.
#[derive(Clone)]
pub struct Budget {
    /// `None` for one that never ends.
    account: Option<Arc<Account>>,
    deposits: bool,
}

struct Account {
    /// Requests that have not been credited yet.
    uncredited: AtomicU64,
    window: Mutex<Window>,
    /// What a request deposits, and what is always there, in `RETRY`ths of a retry.
    share: i64,
    reserve: i64,
    spent: AtomicU64,
    refused: AtomicU64,
}

const RETRY: i64 = 1_000_000;
/// How many requests are credited at a time.
const BATCH: u64 = 16;

impl Budget {
    /// Settings for a budget.
    #[must_use]
    pub fn builder() -> BudgetBuilder {
        BudgetBuilder { share: 0.1, floor: 3.0, window: Duration::from_secs(10) }
    }

    /// One that never refuses. With it, retries multiply an overload.
    #[must_use]
    pub fn unlimited() -> Self {
        Self { account: None, deposits: false }
    }

    /// A handle for a layer below another with the same budget: it withdraws, but requests are
    /// deposited for by the layer above alone.
    #[must_use]
    pub fn without_deposits(&self) -> Self {
        Self { deposits: false, ..self.clone() }
    }

    /// A request has come.
    #[inline]
    pub fn deposit(&self) {
        if let (Some(account), true) = (&self.account, self.deposits) {
            if account.uncredited.fetch_add(1, Ordering::Relaxed) + 1 >= BATCH {
                account.credit();
            }
        }
    }

    /// Pays for one more attempt; false if there is not enough. Call it when the attempt is sent.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        let Some(account) = &self.account else { return true };
        let now = Instant::now();
        let mut window = account.window.lock().unwrap_or_else(PoisonError::into_inner);
        let paid = account.level(&mut window, now) >= RETRY;
        if paid {
            window.add(now, -RETRY);
        }
        let count = if paid { &account.spent } else { &account.refused };
        count.fetch_add(1, Ordering::Relaxed);
        paid
    }

    /// True if there is enough for one more attempt, which is to be sent later. If there is not, it
    /// counts as refused.
    pub(crate) fn affords_one(&self) -> bool {
        let affords = self.balance() >= 1.0;
        if let (Some(account), false) = (&self.account, affords) {
            account.refused.fetch_add(1, Ordering::Relaxed);
        }
        affords
    }

    /// What was withdrawn then was not spent. If that is so long ago that it was forgotten, there is
    /// nothing to give back.
    pub(crate) fn give_back(&self, withdrawn: Instant) {
        if let Some(account) = &self.account {
            let mut window = account.window.lock().unwrap_or_else(PoisonError::into_inner);
            window.take_back(Instant::now(), withdrawn, RETRY);
            account.spent.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many attempts could be paid for at this moment; infinite for an unlimited one.
    #[must_use]
    pub fn balance(&self) -> f64 {
        let Some(account) = &self.account else { return f64::INFINITY };
        let mut window = account.window.lock().unwrap_or_else(PoisonError::into_inner);
        account.level(&mut window, Instant::now()) as f64 / RETRY as f64
    }

    /// How many attempts were paid for so far.
    #[must_use]
    pub fn spent(&self) -> u64 {
        self.account.as_ref().map_or(0, |account| account.spent.load(Ordering::Relaxed))
    }

    /// How many attempts were not sent because there was not enough.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.account.as_ref().map_or(0, |account| account.refused.load(Ordering::Relaxed))
    }
}

impl Account {
    fn level(&self, window: &mut Window, now: Instant) -> i64 {
        let requests = self.uncredited.swap(0, Ordering::Relaxed);
        window.add(now, self.share * requests as i64);
        self.reserve + window.sum(now)
    }

    #[cold]
    fn credit(&self) {
        match self.window.try_lock() {
            Ok(mut window) => _ = self.level(&mut window, Instant::now()),
            Err(TryLockError::Poisoned(poisoned)) => {
                self.level(&mut poisoned.into_inner(), Instant::now());
            }
            // The next request credits this one, too.
            Err(TryLockError::WouldBlock) => {}
        }
    }
}

impl Default for Budget {
    /// 10 % of the requests, and 3 a second beside, saved up for 10 s.
    fn default() -> Self {
        Self::builder().assemble()
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("balance", &self.balance())
            .field("spent", &self.spent())
            .field("refused", &self.refused())
            .finish()
    }
}

/// Configures a [`Budget`].
#[derive(Clone, Copy, Debug)]
pub struct BudgetBuilder {
    share: f64,
    floor: f64,
    window: Duration,
}

impl BudgetBuilder {
    /// What a request adds, as a share of one retry. Default 0.1: one retry for ten requests.
    #[must_use]
    pub fn share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// How many retries a second there are beside. Default 3.
    #[must_use]
    pub fn floor(mut self, per_second: f64) -> Self {
        self.floor = per_second;
        self
    }

    /// How long is saved up what is not used, in tenths of this. Default 10 s.
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// The budget.
    ///
    /// # Errors
    ///
    /// For shares or rates that are negative, not finite or both 0, and for windows that are shorter
    /// than 100 ms or longer than an hour.
    pub fn build(self) -> Result<Budget, InvalidConfig> {
        let Self { share, floor, window } = self;
        InvalidConfig::unless(
            (0.0..=10.0).contains(&share),
            "the budget's share is not between 0 and 10: set the share of requests that may be sent \
             again, 0.1 for 10 %",
        )?;
        InvalidConfig::unless(
            (0.0..=1e6).contains(&floor),
            "the budget's floor is not between 0 and a million a second: set how many retries a \
             second there are beside the share",
        )?;
        InvalidConfig::unless(
            share > 0.0 || floor > 0.0,
            "the budget has neither a share nor a floor: set one of them, or have no retry layer",
        )?;
        InvalidConfig::unless(
            (Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&window),
            "the budget's window is not between 100 ms and an hour: set how long to save up, 10 s \
             for example",
        )?;
        Ok(self.assemble())
    }

    fn assemble(self) -> Budget {
        let account = Account {
            uncredited: AtomicU64::new(0),
            window: Mutex::new(Window::new(self.window)),
            share: (self.share * RETRY as f64).round() as i64,
            reserve: (self.floor * self.window.as_secs_f64() * RETRY as f64).round() as i64,
            spent: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        };
        Budget { account: Some(Arc::new(account)), deposits: true }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::{runtime, time::advance};

    use super::*;

    fn with_paused_time<T>(test: impl Future<Output = T>) -> T {
        let mut runtime = runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap().block_on(test)
    }

    /// `n` requests came and `n` retries were wanted, of which some were paid for.
    #[derive(Clone, Debug)]
    enum Step {
        Pass(u64),
        Requests(u64),
        Retries(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..3000_u64).prop_map(Step::Pass),
            (0..200_u64).prop_map(Step::Requests),
            (0..200_u64).prop_map(Step::Retries),
        ];
        prop::collection::vec(step, 1..100)
    }

    proptest! {
        /// In the window before any withdrawal (times in whole slots) no more was paid for than the
        /// reserve and the share of that window's requests; those not credited yet may be of before.
        #[test]
        fn extra_load_never_exceeds_the_budget(
            steps in steps(),
            share in 0.0..2.0,
            floor in 0.1..20.0,
        ) {
            with_paused_time(async move {
                let window = Duration::from_secs(5);
                let budget = Budget::builder().share(share).floor(floor).window(window);
                let budget = budget.build().unwrap();
                let began = Instant::now();
                let slot = |at: Instant| (at - began).as_millis() / 500;
                let (mut requests, mut retries) = (Vec::new(), Vec::new());
                for step in steps {
                    match step {
                        Step::Pass(millis) => advance(Duration::from_millis(millis)).await,
                        Step::Requests(n) => for _ in 0..n {
                            budget.deposit();
                            requests.push(slot(Instant::now()));
                        },
                        Step::Retries(n) => for _ in 0..n {
                            if !budget.withdraw() {
                                continue;
                            }
                            let now = slot(Instant::now());
                            retries.push(now);
                            let recent = |slots: &[u128]| {
                                slots.iter().rev().take_while(|&&slot| slot + 10 > now).count()
                            };
                            let deposited = recent(&requests) as f64 + (BATCH - 1) as f64;
                            let allowed = floor * 5.0 + share * deposited;
                            prop_assert!(
                                recent(&retries) as f64 <= allowed + 1e-3,
                                "{} > {allowed}", recent(&retries),
                            );
                        },
                    }
                }
                Ok(())
            })?;
        }
    }

    #[test]
    fn what_is_not_used_is_forgotten_after_the_window() {
        with_paused_time(async {
            let budget = Budget::builder().share(0.5).floor(1.0).build().unwrap();
            (0..100).for_each(|_| budget.deposit());
            assert_eq!(budget.balance(), 60.0);
            advance(Duration::from_secs(5)).await;
            assert_eq!(budget.balance(), 60.0);
            advance(Duration::from_secs(5)).await;
            assert_eq!(budget.balance(), 10.0, "the floor is left");
            assert_eq!((0..20).filter(|_| budget.withdraw()).count(), 10);
            assert_eq!((budget.spent(), budget.refused()), (10, 10));
            advance(Duration::from_secs(10)).await;
            assert_eq!(budget.balance(), 10.0);
            advance(Duration::from_secs(1 << 40)).await;
            assert_eq!(budget.balance(), 10.0);
        });
    }

    #[test]
    fn a_handle_without_deposits_spends_from_the_same_budget() {
        with_paused_time(async {
            let budget = Budget::builder().share(1.0).floor(0.0).build().unwrap();
            let spender = budget.without_deposits();
            spender.deposit();
            assert!(!spender.withdraw());
            budget.deposit();
            assert!(spender.withdraw());
            assert!(!budget.withdraw());
        });
    }

    #[test]
    fn what_was_forgotten_is_not_given_back() {
        with_paused_time(async {
            let budget = Budget::builder().share(0.1).floor(1.0).build().unwrap();
            for (seconds, level) in [(0, 10.0), (5, 10.0), (9, 10.0), (11, 10.0)] {
                let withdrawn = Instant::now();
                assert!(budget.withdraw());
                advance(Duration::from_secs(seconds)).await;
                budget.give_back(withdrawn);
                assert_eq!(budget.balance(), level, "after {seconds} s");
                advance(Duration::from_secs(1)).await;
                assert_eq!(budget.balance(), level, "{seconds} s, and one");
            }
        });
    }

    #[test]
    fn nonsense_is_rejected() {
        for builder in [
            Budget::builder().share(-0.1),
            Budget::builder().share(f64::NAN),
            Budget::builder().floor(f64::INFINITY),
            Budget::builder().share(0.0).floor(0.0),
            Budget::builder().window(Duration::ZERO),
        ] {
            assert!(builder.build().is_err(), "{builder:?}");
        }
    }
}
