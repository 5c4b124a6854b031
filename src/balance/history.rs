use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{endpoint::Health, escape::Escaped};

/// A change that a balancer has seen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// The number of the event, counted from 1 in each balancer.
    pub id: u64,
    /// When the balancer saw the change.
    pub time: SystemTime,
    /// The change.
    pub change: Change,
}

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// An endpoint was added.
    EndpointAdded {
        /// The endpoint's key, as text.
        endpoint: Arc<str>,
    },
    /// An endpoint was removed.
    EndpointRemoved {
        /// The endpoint's key, as text.
        endpoint: Arc<str>,
    },
    /// The health of an endpoint changed; `to` contains the cause.
    Health {
        /// The endpoint's key, as text.
        endpoint: Arc<str>,
        /// The health before.
        from: Health,
        /// The health from now on.
        to: Health,
        /// How long the health was `from`.
        lasted: Duration,
    },
    /// More endpoints changed at the same time than the history keeps one by one.
    More {
        /// How many changes have no event of their own.
        changes: usize,
    },
    /// The strategy has a new notice, such as that a panic rule holds.
    Notice(Arc<str>),
    /// A notice of the strategy no longer applies.
    NoticeEnded(Arc<str>),
    /// The stream of endpoints has yielded an error.
    SourceFailed(Arc<str>),
    /// The stream of endpoints has yielded an update after errors.
    SourceRecovered,
}

/// The latest events of a balancer.
#[derive(Debug, Default)]
pub(super) struct History {
    events: VecDeque<Event>,
    last_id: u64,
}

/// How many events a balancer keeps.
const MAX_EVENTS: usize = 64;

impl History {
    pub(super) fn record(&mut self, changes: impl IntoIterator<Item = Change>) {
        let time = SystemTime::now();
        for change in changes {
            if self.events.len() == MAX_EVENTS {
                self.events.pop_front();
            }
            self.last_id += 1;
            self.events.push_back(Event { id: self.last_id, time, change });
        }
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.events.iter().cloned().collect()
    }
}

/// The changes of the endpoints since the last snapshot.
#[derive(Debug, Default)]
pub(super) struct Changes {
    listed: Vec<Change>,
    more: usize,
}

/// How many changes between two snapshots are kept one by one.
const MAX_LISTED: usize = 16;

impl Changes {
    pub(super) fn add(&mut self, change: impl FnOnce() -> Change) {
        if self.listed.len() < MAX_LISTED {
            self.listed.push(change());
        } else {
            self.more += 1;
        }
    }

    pub(super) fn take(&mut self) -> impl Iterator<Item = Change> + use<> {
        let Self { listed, more } = std::mem::take(self);
        let rest = (more > 0).then_some(Change::More { changes: more });
        listed.into_iter().chain(rest)
    }
}

impl Change {
    /// Returns the kind of the change as a word, such as `health`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::EndpointAdded { .. } => "endpoint_added",
            Self::EndpointRemoved { .. } => "endpoint_removed",
            Self::Health { .. } => "health",
            Self::More { .. } => "more",
            Self::Notice(_) => "notice",
            Self::NoticeEnded(_) => "notice_ended",
            Self::SourceFailed(_) => "source_error",
            Self::SourceRecovered => "source_recovered",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndpointAdded { endpoint } => write!(f, "{} added", Escaped(endpoint)),
            Self::EndpointRemoved { endpoint } => write!(f, "{} removed", Escaped(endpoint)),
            Self::Health { endpoint, from, to, lasted } => {
                write!(f, "{} is {to}, after {} for {lasted:.1?}", Escaped(endpoint), from.state())
            }
            Self::More { changes } => write!(f, "{changes} more changes"),
            Self::Notice(notice) => write!(f, "{}", Escaped(notice)),
            Self::NoticeEnded(notice) => write!(f, "no longer: {}", Escaped(notice)),
            Self::SourceFailed(error) => write!(f, "source failed: {}", Escaped(error)),
            Self::SourceRecovered => f.write_str("source recovered"),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Event {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let (mut endpoint, mut from, mut to, mut cause, mut lasted) =
            (None::<&str>, None, None, None::<&str>, None);
        let mut text = None;
        match &self.change {
            Change::EndpointAdded { endpoint: name }
            | Change::EndpointRemoved { endpoint: name } => {
                endpoint = Some(&**name);
            }
            Change::Health { endpoint: name, from: before, to: after, lasted: time } => {
                endpoint = Some(&**name);
                (from, to, cause) = (Some(before.state()), Some(after.state()), after.reason());
                lasted = Some(time.as_secs_f64());
            }
            Change::Notice(notice) | Change::NoticeEnded(notice) => cause = Some(notice),
            Change::SourceFailed(error) => cause = Some(error),
            Change::More { .. } => text = Some(self.change.to_string()),
            Change::SourceRecovered => {}
        }
        let time = self.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut fields = serializer.serialize_struct("Event", 8)?;
        fields.serialize_field("id", &self.id)?;
        fields.serialize_field("time", &time.as_secs_f64())?;
        fields.serialize_field("kind", self.change.kind())?;
        fields.serialize_field("endpoint", &endpoint)?;
        fields.serialize_field("from", &from)?;
        fields.serialize_field("to", &to)?;
        fields.serialize_field("cause", &text.as_deref().or(cause))?;
        fields.serialize_field("lasted_seconds", &lasted)?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_keeps_the_latest_events() {
        let mut history = History::default();
        history.record((0..300).map(|_| Change::SourceRecovered));
        let ids: Vec<_> = history.events().iter().map(|event| event.id).collect();
        assert_eq!((ids.len(), ids[0], ids[63]), (64, 237, 300));
    }

    #[test]
    fn a_burst_of_changes_is_counted() {
        let mut changes = Changes::default();
        (0..100).for_each(|_| changes.add(|| Change::SourceRecovered));
        let taken: Vec<_> = changes.take().collect();
        assert_eq!((taken.len(), &taken[16]), (17, &Change::More { changes: 84 }));
        assert_eq!(changes.take().count(), 0);
    }
}
