//! The locks and atomics of the wait queue: those of std, or those of loom under its model checker
//! (`RUSTFLAGS="--cfg tower_lb_loom"`).

#[cfg(tower_lb_loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};
#[cfg(not(tower_lb_loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

/// Locks a mutex, also if it is poisoned by a panic of another thread.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Marks the place between two sequentially consistent accesses to different variables.
///
/// loom models such accesses as acquire and release only, which does not order them. It models
/// fences exactly, so it gets one here.
#[inline]
pub(crate) fn between_seq_cst() {
    #[cfg(tower_lb_loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}
