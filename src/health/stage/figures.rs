use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    sync::{Arc, Weak},
};

use super::members::Id;
use crate::{
    escape::Escaped,
    sync::{Mutex, lock},
};

/// A handle that reports the figures of a stage, also while a balancer owns its stream. Clones
/// refer to the same stage.
///
/// Each stage has a type of counts `C`, and one of what it knows about an endpoint, `E`:
/// [`CheckFigures`](crate::health::CheckFigures),
/// [`EjectionFigures`](crate::health::EjectionFigures),
/// [`CircuitFigures`](crate::health::CircuitFigures) and
/// [`BackoffFigures`](crate::health::BackoffFigures). Requests do not pay for the figures: the
/// stage writes them when it acts.
///
/// ```
/// use tower_lb::{
///     discover,
///     health::{CircuitBreaker, HealthExt},
/// };
///
/// let endpoints = discover::addresses(["10.0.0.1:80", "10.0.0.2:80"])
///     .circuit_broken(CircuitBreaker::new())?
///     .named("users");
/// let circuits = endpoints.figures();
/// // `endpoints` goes to the balancer.
/// println!("{}", circuits.status());
/// # Ok::<_, tower_lb::ConfigError>(())
/// ```
pub struct Figures<C, E> {
    board: Arc<Mutex<Board<C, E>>>,
}

/// The figures of a stage at one moment.
///
/// With feature `serde` it can be serialized; times are numbers of seconds.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct StageStatus<C, E> {
    /// The name of the stage.
    pub name: Arc<str>,
    /// What the stage has counted for all endpoints, also for those that are gone.
    pub counts: C,
    /// The endpoints that the stage has now, in the order in which they arrived.
    pub endpoints: Vec<E>,
}

#[derive(Debug)]
struct Board<C, E> {
    name: Arc<str>,
    counts: C,
    endpoints: BTreeMap<Id, E>,
}

impl<C: Clone, E: Clone> Figures<C, E> {
    /// Returns the figures of this moment.
    #[must_use]
    pub fn status(&self) -> StageStatus<C, E> {
        let board = lock(&self.board);
        StageStatus {
            name: Arc::clone(&board.name),
            counts: board.counts.clone(),
            endpoints: board.endpoints.values().cloned().collect(),
        }
    }
}

impl<C, E> Figures<C, E> {
    /// Returns the name of the stage.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&lock(&self.board).name)
    }

    /// Returns a handle that does not keep the figures of a stage that is gone.
    #[must_use]
    pub fn downgrade(&self) -> WeakFigures<C, E> {
        WeakFigures { board: Arc::downgrade(&self.board) }
    }

    pub(crate) fn set_name(&self, name: Arc<str>) {
        lock(&self.board).name = name;
    }

    pub(crate) fn add(&self, id: Id, endpoint: E) {
        lock(&self.board).endpoints.insert(id, endpoint);
    }

    pub(crate) fn remove(&self, id: Id) {
        lock(&self.board).endpoints.remove(&id);
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut C)) {
        count(&mut lock(&self.board).counts);
    }

    /// Changes the figures of an endpoint, and the counts.
    pub(crate) fn edit(&self, id: Id, edit: impl FnOnce(&mut C, &mut E)) {
        let mut board = lock(&self.board);
        let Board { counts, endpoints, .. } = &mut *board;
        if let Some(endpoint) = endpoints.get_mut(&id) {
            edit(counts, endpoint);
        }
    }
}

impl<C: Default, E> Figures<C, E> {
    pub(crate) fn new(name: &str) -> Self {
        let board = Board { name: name.into(), counts: C::default(), endpoints: BTreeMap::new() };
        Self { board: Arc::new(Mutex::new(board)) }
    }
}

impl<C, E> Clone for Figures<C, E> {
    fn clone(&self) -> Self {
        Self { board: Arc::clone(&self.board) }
    }
}

impl<C, E> fmt::Debug for Figures<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figures").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// A [`Figures`] that does not keep the figures; see [`Figures::downgrade`].
pub struct WeakFigures<C, E> {
    board: Weak<Mutex<Board<C, E>>>,
}

impl<C, E> WeakFigures<C, E> {
    /// Returns the handle, or `None` if the stage and all its handles are gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<Figures<C, E>> {
        Some(Figures { board: self.board.upgrade()? })
    }
}

impl<C, E> Clone for WeakFigures<C, E> {
    fn clone(&self) -> Self {
        Self { board: Weak::clone(&self.board) }
    }
}

impl<C, E> fmt::Debug for WeakFigures<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakFigures").finish_non_exhaustive()
    }
}

impl<C: Display, E: Display> Display for StageStatus<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Escaped(&self.name), self.counts)?;
        self.endpoints.iter().try_for_each(|endpoint| write!(f, "\n  {endpoint}"))
    }
}
