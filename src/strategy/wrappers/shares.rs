use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
};

use futures::Stream;
use futures::stream::poll_fn;

use crate::{
    ConfigError,
    strategy::wakers::Wakers,
    sync::{Mutex, lock},
};

/// Changes the shares of a [`Split`](crate::strategy::Split) while it serves, as a canary
/// controller does.
///
/// A change wakes the driver, which publishes a new picker. Clones change the same shares.
#[derive(Clone)]
pub struct Shares(Arc<Handle>);

/// Wakes the driver when the last clone is dropped.
struct Handle(Arc<Table>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.wakers.wake();
    }
}

impl Shares {
    /// Sets the shares of some groups at once. Those of the others stay.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a name is not that of a group, or if all shares would be 0. Nothing is
    /// changed then.
    pub fn set<N: AsRef<str>>(
        &self,
        shares: impl IntoIterator<Item = (N, u32)>,
    ) -> Result<(), ConfigError> {
        let table = &self.0.0;
        let mut current = lock(&table.shares);
        let mut changed = current.clone();
        for (name, share) in shares {
            let name = name.as_ref();
            let index = table.names.iter().position(|group| **group == *name).ok_or_else(|| {
                ConfigError::new("group", "the name of a group")
                    .with_value(format_args!("{name:?}"))
            })?;
            changed[index] = share;
        }
        check_any_above_0("shares", &changed)?;
        *current = changed;
        drop(current);
        // After the shares: a driver that sees the new version must read the new shares.
        table.version.fetch_add(1, Ordering::Release);
        table.wakers.wake();
        Ok(())
    }

    /// Returns the names of the groups, with the shares that were set last.
    #[must_use]
    pub fn get(&self) -> Vec<(Arc<str>, u32)> {
        let table = &self.0.0;
        table.names.iter().cloned().zip(table.current()).collect()
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.get()).finish()
    }
}

/// The state shared by the handles and the strategy.
struct Table {
    names: Box<[Arc<str>]>,
    shares: Mutex<Box<[u32]>>,
    version: AtomicU64,
    wakers: Wakers,
}

impl Table {
    fn current(&self) -> Box<[u32]> {
        lock(&self.shares).clone()
    }
}

/// The strategy's side of [`Shares`].
#[derive(Clone)]
pub(super) struct SharesReader {
    table: Arc<Table>,
    handles: Weak<Handle>,
}

/// Creates both sides.
///
/// Fails without groups, if two groups have the same name, or if all shares are 0.
pub(super) fn shares(
    groups: impl IntoIterator<Item = (Arc<str>, u32)>,
) -> Result<(Shares, SharesReader), ConfigError> {
    let (names, shares): (Vec<_>, Vec<_>) = groups.into_iter().unzip();
    if names.is_empty() {
        return Err(ConfigError::new("groups", "at least one group"));
    }
    let mut following = names.iter().zip(1..).map(|(name, count)| (name, &names[count..]));
    if let Some((name, _)) = following.find(|(name, others)| others.contains(name)) {
        let twice = format!("two groups named {name:?}");
        return Err(ConfigError::new("groups", "different names").with_value(twice));
    }
    check_any_above_0("groups", &shares)?;
    let table = Arc::new(Table {
        names: names.into(),
        shares: Mutex::new(shares.into()),
        version: AtomicU64::new(0),
        wakers: Wakers::default(),
    });
    let handle = Arc::new(Handle(Arc::clone(&table)));
    let reader = SharesReader { table, handles: Arc::downgrade(&handle) };
    Ok((Shares(handle), reader))
}

fn check_any_above_0(field: &'static str, shares: &[u32]) -> Result<(), ConfigError> {
    if shares.iter().all(|&share| share == 0) {
        return Err(ConfigError::new(field, "at least one share above 0"));
    }
    Ok(())
}

impl SharesReader {
    pub(super) fn current(&self) -> Box<[u32]> {
        self.table.current()
    }

    /// Returns a stream that yields once the shares differ from the present ones, and ends when no
    /// handle is left to change them. Call it before [`current`](Self::current), so that no change
    /// is missed.
    pub(super) fn changes(&self) -> impl Stream<Item = ()> + Send + use<> {
        let (table, handles) = (Arc::clone(&self.table), Weak::clone(&self.handles));
        let registration = table.wakers.registration();
        let seen = table.version.load(Ordering::Acquire);
        poll_fn(move |cx| {
            registration.register(cx.waker());
            // Counts the handles before it loads the version: the last change happens before the
            // last handle is dropped, so it cannot be missed.
            let no_handles = handles.strong_count() == 0;
            if table.version.load(Ordering::Acquire) != seen {
                Poll::Ready(Some(()))
            } else if no_handles {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        })
    }
}
