//! The primitives that are shared without a lock or wait in line: std's, or loom's when its model
//! checker runs (`RUSTFLAGS="--cfg tower_lb_loom"`).

#[cfg(tower_lb_loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicUsize, Ordering},
};
#[cfg(not(tower_lb_loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicUsize, Ordering},
};

/// Locks, going on with the data if a panic of another thread poisoned it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Stands between two sequentially consistent accesses to different variables. loom takes such
/// accesses for acquire and release ones, which is not enough to find each other; a fence it knows.
#[inline]
pub(crate) fn between_seq_cst() {
    #[cfg(tower_lb_loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}
