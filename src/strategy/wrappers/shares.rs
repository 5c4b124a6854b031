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
    strategy::wakers::Wakers,
    sync::{Mutex, lock},
};

/// Changes the shares of a [`Split`](crate::strategy::Split) while it serves: for a canary's controller.
///
/// A change wakes the driver, which publishes a new picker: it is in force once the driver was
/// polled. Clones change the same shares.
#[derive(Clone)]
pub struct Shares(Arc<Handle>);

/// Tells the strategy when the last clone is gone.
struct Handle(Arc<Table>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.wakers.wake();
    }
}

impl Shares {
    /// Sets the shares of some groups at once, those of the others stay.
    ///
    /// # Errors
    ///
    /// [`SplitError::UnknownGroup`], or [`SplitError::NoShares`] if all would be 0. Nothing is
    /// changed then.
    pub fn set<N: AsRef<str>>(
        &self,
        shares: impl IntoIterator<Item = (N, u32)>,
    ) -> Result<(), SplitError> {
        let table = &self.0.0;
        let mut current = lock(&table.shares);
        let mut changed = current.clone();
        for (name, share) in shares {
            let name = name.as_ref();
            let index = table.names.iter().position(|group| **group == *name);
            let unknown = || SplitError::UnknownGroup { name: name.into() };
            changed[index.ok_or_else(unknown)?] = share;
        }
        if changed.iter().all(|&share| share == 0) {
            return Err(SplitError::NoShares);
        }
        *current = changed;
        drop(current);
        table.version.fetch_add(1, Ordering::Release);
        table.wakers.wake();
        Ok(())
    }

    /// The groups' names and shares, as they were set last.
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

/// What the handles and the strategy share.
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

/// The strategy's end.
#[derive(Clone)]
pub(super) struct SharesReader {
    table: Arc<Table>,
    handles: Weak<Handle>,
}

/// Both ends. There must be groups, of different names, and shares that are not all 0.
pub(super) fn shares(
    groups: impl IntoIterator<Item = (Arc<str>, u32)>,
) -> Result<(Shares, SharesReader), SplitError> {
    let (names, shares): (Vec<_>, Vec<_>) = groups.into_iter().unzip();
    if names.is_empty() {
        return Err(SplitError::NoGroups);
    }
    let mut before = names.iter().zip(1..).map(|(name, count)| (name, &names[count..]));
    if let Some((name, _)) = before.find(|(name, others)| others.contains(name)) {
        return Err(SplitError::DuplicateGroup { name: Arc::clone(name) });
    }
    if shares.iter().all(|&share| share == 0) {
        return Err(SplitError::NoShares);
    }
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

impl SharesReader {
    pub(super) fn current(&self) -> Box<[u32]> {
        self.table.current()
    }

    /// Yields when the shares are others than those that are current now; ends when they can't be
    /// changed any more. To be called before [`current`](Self::current).
    pub(super) fn changes(&self) -> impl Stream<Item = ()> + Send + use<> {
        let (table, handles) = (Arc::clone(&self.table), Weak::clone(&self.handles));
        let registration = table.wakers.registration();
        let seen = table.version.load(Ordering::Acquire);
        poll_fn(move |cx| {
            registration.register(cx.waker());
            // Before the version: the last change comes before the last handle goes.
            let gone = handles.strong_count() == 0;
            if table.version.load(Ordering::Acquire) != seen {
                Poll::Ready(Some(()))
            } else if gone {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        })
    }
}

/// Groups or shares of a [`Split`](crate::strategy::Split) that make no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SplitError {
    /// There is no group.
    NoGroups,
    /// All shares are 0, so no request could go anywhere.
    NoShares,
    /// Two groups have the same name.
    DuplicateGroup {
        /// The name.
        name: Arc<str>,
    },
    /// There is no group of this name.
    UnknownGroup {
        /// The name.
        name: Arc<str>,
    },
}

impl fmt::Display for SplitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoGroups => f.write_str("a split without groups: add at least one"),
            Self::NoShares => f.write_str("all shares are 0: give at least one group a share"),
            Self::DuplicateGroup { name } => {
                write!(f, "two groups are named {name:?}: give them different names")
            }
            Self::UnknownGroup { name } => write!(f, "there is no group named {name:?}"),
        }
    }
}

impl std::error::Error for SplitError {}
