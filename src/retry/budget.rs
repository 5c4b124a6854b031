use std::{
    fmt,
    sync::{
        Arc, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::BudgetStatus;
use crate::{
    ConfigError,
    escape::Escaped,
    named::{Episode, weak_status},
    sync::{Mutex, lock},
};

/// Limits how many retries and hedges are sent in addition to the requests themselves.
///
/// Each request deposits a share of a retry, and each retry or hedge that is sent withdraws a whole
/// one. Deposits that are not used expire after the window. In addition there is a floor for
/// services with little traffic. In any window, at most this many retries and hedges are sent: the
/// floor's rate times the window, plus the share of the requests in that window and the window
/// before.
///
/// Clones are handles to one budget. Use one budget for each set of endpoints, and give it to all
/// layers that send retries or hedges. A deposit is one atomic addition; every sixteenth also reads
/// the clock. Only withdrawals wait for a lock.
///
/// Source: Finagle's `RetryBudget`. Where this differs: 10 % instead of 20 %, and a floor of 3 per
/// second instead of 10, because a large reserve sustains a retry storm.
#[derive(Clone)]
pub struct Budget {
    /// `None` if the budget is unlimited.
    account: Option<Arc<Account>>,
    deposits: bool,
}

/// Amounts are in units of `1 / UNITS_PER_RETRY` of a retry.
pub(super) struct Account {
    settings: BudgetBuilder,
    /// Requests that are not yet deposited in `window`.
    pending_requests: AtomicU64,
    window: Mutex<Window>,
    units_per_request: i64,
    /// The floor's contribution to each window.
    reserve: i64,
    /// Requests that were deposited in `window` so far.
    deposits: AtomicU64,
    spent: AtomicU64,
    refunded: AtomicU64,
    refused: AtomicU64,
    exhausted: Episode,
}

/// Integers, so that deposits and withdrawals cancel out exactly.
const UNITS_PER_RETRY: i64 = 1_000_000;
/// How many requests are deposited at a time.
const REQUESTS_PER_DEPOSIT: u64 = 16;

impl Budget {
    /// Returns a builder with default settings.
    pub fn builder() -> BudgetBuilder {
        BudgetBuilder::default()
    }

    /// A budget that never refuses. With it, retries multiply an overload.
    #[must_use]
    pub fn unlimited() -> Self {
        Self { account: None, deposits: false }
    }

    /// Returns a handle that withdraws but does not deposit, for a layer below another layer with
    /// the same budget: only the upper layer is to deposit for a request.
    #[must_use]
    pub fn without_deposits(&self) -> Self {
        Self { deposits: false, ..self.clone() }
    }

    /// Deposits the share of one request.
    #[inline]
    pub fn deposit(&self) {
        if let (Some(account), true) = (&self.account, self.deposits) {
            let pending = account.pending_requests.fetch_add(1, Ordering::Relaxed) + 1;
            if pending >= REQUESTS_PER_DEPOSIT {
                account.deposit_pending();
            }
        }
    }

    /// Withdraws one attempt, or returns false if the balance is too low. Call it when the attempt
    /// is sent.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        let Some(account) = &self.account else { return true };
        let now = Instant::now();
        let mut window = lock(&account.window);
        let is_enough = account.balance(&mut window, now) >= UNITS_PER_RETRY;
        if is_enough {
            window.add(now, -UNITS_PER_RETRY);
            account.spent.fetch_add(1, Ordering::Relaxed);
        } else {
            // An event is not written under the lock.
            drop(window);
            account.refuse();
        }
        is_enough
    }

    /// Returns true if the balance is enough for an attempt that is to be sent later. If it is not,
    /// the attempt counts as refused.
    pub(crate) fn affords_one(&self) -> bool {
        let affords = self.balance() >= 1.0;
        if let (Some(account), false) = (&self.account, affords) {
            account.refuse();
        }
        affords
    }

    /// Undoes the withdrawal made at `withdrawn`, whose attempt was not sent. A withdrawal that has
    /// expired no longer lowers the balance, so nothing is added.
    pub(crate) fn refund(&self, withdrawn: Instant) {
        if let Some(account) = &self.account {
            lock(&account.window).refund(Instant::now(), withdrawn, UNITS_PER_RETRY);
            account.refunded.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns how many attempts could be paid for at this moment; infinite for an unlimited
    /// budget.
    #[must_use]
    pub fn balance(&self) -> f64 {
        let Some(account) = &self.account else { return f64::INFINITY };
        account.balance(&mut lock(&account.window), Instant::now()) as f64 / UNITS_PER_RETRY as f64
    }

    /// Returns how many attempts were paid for so far, including those whose payment was refunded
    /// because no endpoint got them.
    #[must_use]
    pub fn spent(&self) -> u64 {
        self.account.as_ref().map_or(0, |account| account.spent.load(Ordering::Relaxed))
    }

    /// Returns how many attempts were not sent because the balance was too low.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.account.as_ref().map_or(0, |account| account.refused.load(Ordering::Relaxed))
    }

    /// Returns the counters and the balance; `None` for an unlimited budget, which counts nothing.
    #[must_use]
    pub fn status(&self) -> Option<BudgetStatus> {
        self.account.as_ref().map(|account| account.status())
    }

    /// Returns the address of what all handles share; `None` for an unlimited budget.
    pub(crate) fn address(&self) -> Option<*const ()> {
        self.account.as_ref().map(|account| Arc::as_ptr(account).cast())
    }

    /// Returns a function that reads the status until the last handle is dropped; `None` for an
    /// unlimited budget.
    pub(crate) fn weak_status(
        &self,
    ) -> Option<impl Fn() -> Option<BudgetStatus> + Send + Sync + use<>> {
        self.account.as_ref().map(|account| weak_status(account, Account::status))
    }
}

impl Account {
    fn status(&self) -> BudgetStatus {
        let balance = self.balance(&mut lock(&self.window), Instant::now());
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        BudgetStatus {
            name: Arc::clone(&self.settings.name),
            balance: balance as f64 / UNITS_PER_RETRY as f64,
            deposits: read(&self.deposits),
            spent: read(&self.spent),
            refunded: read(&self.refunded),
            refused: read(&self.refused),
            share: self.settings.share,
            floor: self.settings.floor,
            window: self.settings.window,
        }
    }

    /// Counts an attempt that is not sent.
    fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        if self.exhausted.begins() {
            tracing::warn!(
                budget = %Escaped(&self.settings.name),
                share = self.settings.share,
                floor = self.settings.floor,
                "the budget is exhausted, so retries and hedges are not sent"
            );
        }
    }

    /// Deposits the pending requests, and returns the balance.
    fn balance(&self, window: &mut Window, now: Instant) -> i64 {
        let requests = self.pending_requests.swap(0, Ordering::Relaxed);
        self.deposits.fetch_add(requests, Ordering::Relaxed);
        window.add(now, self.units_per_request * requests as i64);
        self.reserve + window.sum(now)
    }

    #[cold]
    fn deposit_pending(&self) {
        match self.window.try_lock() {
            Ok(mut window) => _ = self.balance(&mut window, Instant::now()),
            Err(TryLockError::Poisoned(poisoned)) => {
                self.balance(&mut poisoned.into_inner(), Instant::now());
            }
            // Requests never wait for the lock. The next request deposits this one as well.
            Err(TryLockError::WouldBlock) => {}
        }
    }
}

impl Default for Budget {
    /// 10 % of the requests, plus 3 per second, with a window of 10 s.
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
#[derive(Clone, Debug)]
#[must_use]
pub struct BudgetBuilder {
    name: Arc<str>,
    share: f64,
    floor: f64,
    window: Duration,
}

impl Default for BudgetBuilder {
    fn default() -> Self {
        Self { name: "budget".into(), share: 0.1, floor: 3.0, window: Duration::from_secs(10) }
    }
}

impl BudgetBuilder {
    /// Names the budget in its status and in log events. Default "budget"; that of a layer that was
    /// given no budget has the layer's name.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets how much of a retry each request deposits. Default 0.1: one retry for ten requests.
    pub fn share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// Sets how many retries per second are allowed in addition. Default 3.
    pub fn floor(mut self, per_second: f64) -> Self {
        self.floor = per_second;
        self
    }

    /// Sets how long unused deposits are kept, to a tenth of this time. Default 10 s.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Builds the budget.
    ///
    /// # Errors
    ///
    /// If the share is not from 0 to 10, the floor is not from 0 to a million, both are 0, or the
    /// window is not from 100 ms to an hour.
    pub fn build(self) -> Result<Budget, ConfigError> {
        let Self { share, floor, window, .. } = self;
        ConfigError::unless_within("share", share, [0.0, 10.0])?;
        ConfigError::unless_within("floor", floor, [0.0, 1e6])?;
        let is_empty = share == 0.0 && floor == 0.0;
        ConfigError::unless(!is_empty, "share", share, "a number above 0, as `floor` is 0")?;
        ConfigError::unless(
            (Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&window),
            "window",
            format_args!("{window:?}"),
            "a time from 100 ms to 1 h",
        )?;
        Ok(self.assemble())
    }

    pub(crate) fn assemble(self) -> Budget {
        let units = |retries: f64| (retries * UNITS_PER_RETRY as f64).round() as i64;
        let account = Account {
            pending_requests: AtomicU64::new(0),
            window: Mutex::new(Window::new(self.window)),
            units_per_request: units(self.share),
            reserve: units(self.floor * self.window.as_secs_f64()),
            deposits: AtomicU64::new(0),
            spent: AtomicU64::new(0),
            refunded: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            exhausted: Episode::default(),
            settings: self,
        };
        Budget { account: Some(Arc::new(account)), deposits: true }
    }
}

/// A sum over the recent past. Amounts older than the window expire, a tenth of the window at a
/// time.
#[derive(Debug)]
pub(super) struct Window {
    slots: [i64; SLOTS],
    sum: i64,
    created: Instant,
    /// The number of the newest slot since `created`.
    tick: u64,
    slot_length: Duration,
}

const SLOTS: usize = 10;

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        let slot_length = (length / SLOTS as u32).max(Duration::from_nanos(1));
        Self { slots: [0; SLOTS], sum: 0, created: Instant::now(), tick: 0, slot_length }
    }

    pub(super) fn add(&mut self, now: Instant, amount: i64) {
        self.expire(now);
        self.slots[self.tick as usize % SLOTS] += amount;
        self.sum += amount;
    }

    /// Adds `amount` to the slot of `then`, unless that slot has expired.
    pub(super) fn refund(&mut self, now: Instant, then: Instant, amount: i64) {
        self.expire(now);
        let tick = self.tick_of(then);
        if tick.saturating_add(SLOTS as u64) > self.tick && tick <= self.tick {
            self.slots[tick as usize % SLOTS] += amount;
            self.sum += amount;
        }
    }

    pub(super) fn sum(&mut self, now: Instant) -> i64 {
        self.expire(now);
        self.sum
    }

    fn tick_of(&self, time: Instant) -> u64 {
        let age = time.saturating_duration_since(self.created).as_nanos();
        u64::try_from(age / self.slot_length.as_nanos()).unwrap_or(u64::MAX)
    }

    fn expire(&mut self, now: Instant) {
        let tick = self.tick_of(now);
        // After a pause longer than the window, every slot expires once.
        for passed in self.tick..tick.min(self.tick + SLOTS as u64) {
            let oldest = (passed + 1) as usize % SLOTS;
            self.sum -= std::mem::take(&mut self.slots[oldest]);
        }
        // `now` may be earlier than at the last call, because threads read the clock before they
        // lock.
        self.tick = tick.max(self.tick);
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

    /// Milliseconds that pass, requests that are deposited, and retries that are attempted.
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
        /// In the window before any withdrawal (times in whole slots), at most the reserve and the
        /// share of that window's requests were spent. Pending requests may be older than the
        /// window.
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
                            let deposited = recent(&requests) as f64 + (REQUESTS_PER_DEPOSIT - 1) as f64;
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
    fn unused_deposits_expire_after_the_window() {
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
    fn an_expired_withdrawal_is_not_refunded() {
        with_paused_time(async {
            let budget = Budget::builder().share(0.1).floor(1.0).build().unwrap();
            for (seconds, level) in [(0, 10.0), (5, 10.0), (9, 10.0), (11, 10.0)] {
                let withdrawn = Instant::now();
                assert!(budget.withdraw());
                advance(Duration::from_secs(seconds)).await;
                budget.refund(withdrawn);
                assert_eq!(budget.balance(), level, "after {seconds} s");
                advance(Duration::from_secs(1)).await;
                assert_eq!(budget.balance(), level, "{seconds} s, and one");
            }
        });
    }

    #[test]
    fn invalid_settings_are_rejected() {
        for builder in [
            Budget::builder().share(-0.1),
            Budget::builder().share(f64::NAN),
            Budget::builder().floor(f64::INFINITY),
            Budget::builder().share(0.0).floor(0.0),
            Budget::builder().window(Duration::ZERO),
        ] {
            assert!(builder.clone().build().is_err(), "{builder:?}");
        }
    }
}
