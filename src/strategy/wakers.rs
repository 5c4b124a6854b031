use std::task::Waker;

use crate::sync::{Mutex, lock};

/// The drivers that are to look again after a change: what is changed by one call may be a part of
/// several balancers' strategies.
#[derive(Debug, Default)]
pub(super) struct Wakers(Mutex<Vec<Waker>>);

impl Wakers {
    /// To be woken at the next change. A task that is in already stays in once.
    pub(super) fn register(&self, waker: &Waker) {
        let mut wakers = lock(&self.0);
        if !wakers.iter().any(|registered| registered.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    pub(super) fn wake(&self) {
        let wakers = std::mem::take(&mut *lock(&self.0));
        wakers.into_iter().for_each(Waker::wake);
    }
}
