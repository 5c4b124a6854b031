use std::{error::Error as StdError, fmt, hash::Hash, net::IpAddr, time::Duration};

use indexmap::IndexMap;
use tokio::time::Instant;

use super::{
    FlowKey, FlowTableBuilder,
    chain::{Chain, Link, Order},
    sources::{Sources, source_of},
};
use crate::capacity::shrunk;

/// A bounded table of flows, each with a value and an idle timeout.
///
/// **New and established.** A flow is new until [`establish`](Self::establish) says that the other
/// side has replied. When the table is full, a new flow displaces the oldest of those that are new,
/// and never an established one; if all are established, it is refused. So a flood of packets to
/// which nothing replies, as from forged addresses, cannot push out flows that work.
///
/// **Sources.** One source has at most its [share](FlowTableBuilder::source_share) of the table. At
/// that limit, its new flows displace its own oldest new one, or are refused.
///
/// **Time** is an argument of each call. The table has no task and no timer: call
/// [`pop_expired`](Self::pop_expired) when [`next_expiry`](Self::next_expiry) has come. Each class
/// of flows has its own idle timeout, an index into
/// [`idle_timeouts`](FlowTableBuilder::idle_timeouts).
///
/// **Cost.** Every call takes constant time, whatever the number of flows, except that the table
/// grows and shrinks by halves. Flows of one class expire in the order of their last packets, so a
/// list in that order replaces a timer wheel. A packet only writes the time to its flow. The flow
/// moves to the end of the list when a sixteenth of the timeout has passed since it last moved,
/// which makes the list exact to that sixteenth: an idle flow stays in the table for up to a
/// sixteenth longer, but `get` does not find it.
///
/// Keys are hashed with a random key, because clients choose them.
pub struct FlowTable<V, K = FlowKey> {
    entries: Entries<K, V>,
    classes: Box<[Class]>,
    sources: Sources,
    max_flows: usize,
    max_flows_per_source: u32,
    /// The first time that was passed in.
    epoch: Option<Instant>,
    /// The latest time that was passed in, in nanoseconds since `epoch`. An earlier one counts as
    /// this.
    now: u64,
    counts: FlowCounts,
}

pub(super) type Entries<K, V> = IndexMap<K, Entry<V>>;

#[derive(Debug)]
pub(super) struct Entry<V> {
    value: V,
    /// When the last packet came, in nanoseconds since the epoch of the table.
    used: u64,
    /// When it was moved to the end of its list.
    queued: u64,
    pub(super) source: u64,
    /// By [`Order`].
    pub(super) links: [Link; 2],
    class: u8,
    is_established: bool,
}

/// The flows with one timeout.
#[derive(Debug)]
struct Class {
    timeout: u64,
    new: Chain,
    established: Chain,
}

/// A flow that an insertion has removed from the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed<V, K = FlowKey> {
    /// The key of the flow.
    pub key: K,
    /// Its value.
    pub value: V,
    /// Why it was removed.
    pub cause: Removal,
}

/// Why a flow was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Removal {
    /// It was idle for its timeout.
    Expired,
    /// Another flow was inserted under its key.
    Replaced,
    /// It was the oldest new flow, and the table or the share of the source was full.
    Evicted,
}

/// The error of an insertion into a full table. It contains the value that was not inserted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Refused<V> {
    /// The value.
    pub value: V,
    /// The reason.
    pub reason: Refusal,
}

/// Why a flow was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The table has `max_flows`, all of them established.
    TableFull,
    /// The source has its share of the flows, and all of them are established, or the flow under
    /// this key is that of another source.
    SourceFull,
}

/// What has happened to the flows of a table since it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FlowCounts {
    /// Flows that were inserted.
    pub created: u64,
    /// Flows that were removed after their idle timeout.
    pub expired: u64,
    /// New flows that others have displaced.
    pub evicted: u64,
    /// Flows that were refused because the table was full.
    pub table_full: u64,
    /// Flows that were refused because their source had its share.
    pub source_full: u64,
}

impl FlowTable<()> {
    /// Returns the settings of a table, all at their defaults.
    #[must_use]
    pub fn builder() -> FlowTableBuilder {
        FlowTableBuilder::default()
    }
}

impl<V, K: Eq + Hash> FlowTable<V, K> {
    pub(super) fn new(settings: &FlowTableBuilder) -> Self {
        let class = |timeout: &Duration| Class {
            timeout: nanos(*timeout),
            new: Chain::EMPTY,
            established: Chain::EMPTY,
        };
        let share = f64::from(settings.max_flows) * settings.source_share;
        Self {
            entries: IndexMap::new(),
            classes: settings.idle_timeouts.iter().map(class).collect(),
            sources: Sources::default(),
            max_flows: settings.max_flows as usize,
            // A cast of a float saturates.
            max_flows_per_source: (share as u32).max(1),
            epoch: None,
            now: 0,
            counts: FlowCounts::default(),
        }
    }

    /// Returns the number of flows, including those that are idle and not yet removed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if there is no flow.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns how many flows one source may have.
    #[must_use]
    pub fn max_flows_per_source(&self) -> u32 {
        self.max_flows_per_source
    }

    /// Returns what has happened to flows so far.
    #[must_use]
    pub fn counts(&self) -> FlowCounts {
        self.counts
    }

    /// Returns the flows in no particular order. It looks at all of them.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.value))
    }

    /// Records a packet of the flow, and returns the flow's value. Returns `None` if there is no
    /// such flow, or if it has been idle for its timeout.
    pub fn get(&mut self, key: &K, now: Instant) -> Option<&mut V> {
        let index = self.live(key, now)?;
        self.touch(index);
        Some(&mut self.entries[index].value)
    }

    /// Returns the value of a flow as [`get`](Self::get) does, without recording a packet.
    pub fn peek(&mut self, key: &K, now: Instant) -> Option<&mut V> {
        let index = self.live(key, now)?;
        Some(&mut self.entries[index].value)
    }

    /// Records a packet from the other side: the flow is established from now on.
    pub fn establish(&mut self, key: &K, now: Instant) -> Option<&mut V> {
        let index = self.live(key, now)?;
        if self.entries[index].is_established {
            self.touch(index);
        } else {
            self.sources.establish(&mut self.entries, index);
            self.requeue(index, |entry| entry.is_established = true);
        }
        Some(&mut self.entries[index].value)
    }

    /// Returns true if the flow is in the table and established.
    #[must_use]
    pub fn is_established(&self, key: &K) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.is_established)
    }

    /// Records a packet and moves the flow to another class, such as one with a short timeout for a
    /// connection that was closed.
    pub fn set_class(&mut self, key: &K, class: usize, now: Instant) -> Option<&mut V> {
        let (index, class) = (self.live(key, now)?, self.class(class));
        self.requeue(index, |entry| entry.class = class);
        Some(&mut self.entries[index].value)
    }

    /// Inserts a new flow of `source`. `class` is an index into
    /// [`idle_timeouts`](FlowTableBuilder::idle_timeouts); a larger one counts as the last.
    ///
    /// Returns the flow that had to make room: the one under the same key, one that was idle, or
    /// the oldest new one.
    ///
    /// # Errors
    ///
    /// Returns the value if the table or the share of the source is full of established flows.
    pub fn insert(
        &mut self,
        key: K,
        source: IpAddr,
        class: usize,
        value: V,
        now: Instant,
    ) -> Result<Option<Removed<V, K>>, Refused<V>> {
        let now = self.advance(now);
        let (source, class) = (source_of(source), self.class(class));
        let removed = match self.make_room(&key, source) {
            Ok(room) => room.and_then(|(index, cause)| self.take(index, cause)),
            Err(reason) => {
                match reason {
                    Refusal::TableFull => self.counts.table_full += 1,
                    Refusal::SourceFull => self.counts.source_full += 1,
                }
                return Err(Refused { value, reason });
            }
        };
        let links = [Link::UNLINKED; 2];
        let entry =
            Entry { value, used: now, queued: now, source, links, class, is_established: false };
        let (index, _) = self.entries.insert_full(key, entry);
        self.classes[usize::from(class)].new.push(&mut self.entries, Order::Use, index);
        self.sources.add(&mut self.entries, index);
        self.counts.created += 1;
        Ok(removed)
    }

    /// Finds the flow that must make room for another one, if any must.
    fn make_room(&self, key: &K, source: u64) -> Result<Option<(usize, Removal)>, Refusal> {
        if let Some(index) = self.entries.get_index_of(key) {
            let cause = if self.is_idle(index) { Removal::Expired } else { Removal::Replaced };
            // The flow that it replaces may have had another source, whose share it does not free.
            let frees_share = self.entries[index].source == source;
            return match frees_share || self.sources.flows(source) < self.max_flows_per_source {
                true => Ok(Some((index, cause))),
                false => Err(Refusal::SourceFull),
            };
        }
        if self.sources.flows(source) >= self.max_flows_per_source {
            let oldest = self.sources.oldest_new(source);
            return oldest.map(|index| Some(self.evicted(index))).ok_or(Refusal::SourceFull);
        }
        if self.entries.len() < self.max_flows {
            return Ok(None);
        }
        if let Some(index) = self.first_idle() {
            return Ok(Some((index, Removal::Expired)));
        }
        let oldest = self.classes.iter().filter_map(|class| class.new.first());
        let oldest = oldest.min_by_key(|&index| self.entries[index].queued);
        oldest.map(|index| Some(self.evicted(index))).ok_or(Refusal::TableFull)
    }

    /// Removes a flow that has ended.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let index = self.entries.get_index_of(key)?;
        self.remove_at(index).map(|(_, value)| value)
    }

    /// Removes one flow that has been idle for its timeout. Call it until it returns `None`.
    pub fn pop_expired(&mut self, now: Instant) -> Option<(K, V)> {
        self.advance(now);
        let index = self.first_idle()?;
        self.counts.expired += 1;
        self.remove_at(index)
    }

    /// Returns when [`pop_expired`](Self::pop_expired) is to be called next; `None` if there is no
    /// flow.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        let firsts = self.firsts().map(|(index, timeout)| self.entries[index].used + timeout);
        let (due, epoch) = (firsts.min()?, self.epoch?);
        epoch.checked_add(Duration::from_nanos(due))
    }

    /// Returns the first entry of each list, with its timeout.
    fn firsts(&self) -> impl Iterator<Item = (usize, u64)> {
        self.classes.iter().flat_map(|class| {
            let firsts = [class.new.first(), class.established.first()];
            firsts.into_iter().flatten().map(|index| (index, class.timeout))
        })
    }

    fn first_idle(&self) -> Option<usize> {
        self.firsts().map(|(index, _)| index).find(|&index| self.is_idle(index))
    }

    fn is_idle(&self, index: usize) -> bool {
        let entry = &self.entries[index];
        self.now - entry.used >= self.classes[usize::from(entry.class)].timeout
    }

    fn evicted(&self, index: usize) -> (usize, Removal) {
        let cause = if self.is_idle(index) { Removal::Expired } else { Removal::Evicted };
        (index, cause)
    }

    /// Returns the index of a flow that is not idle.
    fn live(&mut self, key: &K, now: Instant) -> Option<usize> {
        self.advance(now);
        self.entries.get_index_of(key).filter(|&index| !self.is_idle(index))
    }

    /// Returns the present time of the table. The lists rely on it that time does not go back.
    fn advance(&mut self, now: Instant) -> u64 {
        let epoch = *self.epoch.get_or_insert(now);
        self.now = self.now.max(nanos(now.saturating_duration_since(epoch)));
        self.now
    }

    fn class(&self, class: usize) -> u8 {
        class.min(self.classes.len() - 1) as u8
    }

    /// Records a packet. The flow seldom moves in its list, because that writes to its neighbours,
    /// which are anywhere in memory.
    fn touch(&mut self, index: usize) {
        let (now, entry) = (self.now, &mut self.entries[index]);
        entry.used = now;
        if now - entry.queued >= self.classes[usize::from(entry.class)].timeout / 16 {
            self.requeue(index, |_| {});
        }
    }

    /// Changes an entry and moves it to the end of its list, which may be another one then.
    fn requeue(&mut self, index: usize, change: impl FnOnce(&mut Entry<V>)) {
        chain(&mut self.classes, &self.entries[index]).unlink(&mut self.entries, Order::Use, index);
        let entry = &mut self.entries[index];
        change(entry);
        (entry.used, entry.queued) = (self.now, self.now);
        chain(&mut self.classes, &self.entries[index]).push(&mut self.entries, Order::Use, index);
    }

    fn take(&mut self, index: usize, cause: Removal) -> Option<Removed<V, K>> {
        match cause {
            Removal::Expired => self.counts.expired += 1,
            Removal::Evicted => self.counts.evicted += 1,
            Removal::Replaced => {}
        }
        let (key, value) = self.remove_at(index)?;
        Some(Removed { key, value, cause })
    }

    /// Removes the flow at `index`, which the last flow then takes.
    fn remove_at(&mut self, index: usize) -> Option<(K, V)> {
        let entries = &mut self.entries;
        let entry = &entries[index];
        let (source, is_new) = (entry.source, !entry.is_established);
        chain(&mut self.classes, entry).unlink(entries, Order::Use, index);
        if is_new {
            self.sources.establish(entries, index);
        }
        self.sources.remove(source);
        let (key, entry) = entries.swap_remove_index(index)?;
        if let Some(moved) = entries.get_index(index).map(|(_, moved)| moved) {
            let is_new = !moved.is_established;
            chain(&mut self.classes, moved).moved(entries, Order::Use, index);
            if is_new {
                self.sources.moved(entries, index);
            }
        }
        if let Some(capacity) = shrunk(entries.len(), entries.capacity()) {
            entries.shrink_to(capacity);
        }
        Some((key, entry.value))
    }
}

/// Returns the list that an entry belongs to.
fn chain<'a, V>(classes: &'a mut [Class], entry: &Entry<V>) -> &'a mut Chain {
    let class = &mut classes[usize::from(entry.class)];
    if entry.is_established { &mut class.established } else { &mut class.new }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl<V, K> fmt::Debug for FlowTable<V, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowTable")
            .field("flows", &self.entries.len())
            .field("max_flows", &self.max_flows)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl<V> fmt::Debug for Refused<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Refused").field(&self.reason).finish()
    }
}

impl<V> fmt::Display for Refused<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.reason {
            Refusal::TableFull => "the table is full of established flows",
            Refusal::SourceFull => "the source has its share of flows, and all are established",
        })
    }
}

impl<V> StdError for Refused<V> {}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        net::{Ipv4Addr, SocketAddr},
    };

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(source: u32, port: u16) -> (FlowKey, IpAddr) {
        let source = IpAddr::from(Ipv4Addr::from_bits(0x0A00_0000 + source));
        let destination = SocketAddr::from(([192, 0, 2, 1], 53));
        (FlowKey::five_tuple(FlowKey::UDP, (source, port).into(), destination), source)
    }

    impl<V> FlowTable<V> {
        fn add(&mut self, (key, source): (FlowKey, IpAddr), value: V, now: Instant) -> Added<V> {
            self.insert(key, source, 0, value, now).map_err(|refused| refused.reason)
        }
    }

    type Added<V> = Result<Option<Removed<V>>, Refusal>;

    fn evicted<V>((key, _): (FlowKey, IpAddr), value: V) -> Added<V> {
        Ok(Some(Removed { key, value, cause: Removal::Evicted }))
    }

    #[test]
    fn a_flow_expires_after_its_idle_timeout() {
        let mut table = FlowTable::builder().idle_timeouts([SECOND * 120]).build().unwrap();
        let (start, flow) = (Instant::now(), key(1, 1));
        table.add(flow, 'a', start).unwrap();
        for passed in [119, 238, 357] {
            assert_eq!(table.pop_expired(start + SECOND * passed), None);
            assert_eq!(table.get(&flow.0, start + SECOND * passed), Some(&mut 'a'));
        }
        let due = start + SECOND * (357 + 120);
        assert_eq!(table.next_expiry(), Some(due));
        assert_eq!(table.peek(&flow.0, due - SECOND), Some(&mut 'a'));
        // Idle flows are not found, whether they were removed or not.
        assert_eq!((table.get(&flow.0, due).copied(), table.len()), (None, 1));
        assert_eq!(table.pop_expired(due), Some((flow.0, 'a')));
        assert_eq!((table.pop_expired(due), table.next_expiry()), (None, None));
        assert_eq!(table.counts(), FlowCounts { created: 1, expired: 1, ..FlowCounts::default() });
    }

    #[test]
    fn a_source_at_its_share_takes_no_flow_over() {
        let mut table = FlowTable::builder().max_flows(4).source_share(0.5).build().unwrap();
        let (now, flows) = (Instant::now(), [key(1, 1), key(1, 2), key(2, 1)]);
        for flow in flows {
            table.add(flow, 'a', now).unwrap();
        }
        let taken_over = (flows[2].0, flows[0].1);
        assert_eq!(table.add(taken_over, 'b', now), Err(Refusal::SourceFull));
        assert_eq!(table.peek(&flows[2].0, now), Some(&mut 'a'));
        table.remove(&flows[0].0);
        let replaced = Removed { key: flows[2].0, value: 'a', cause: Removal::Replaced };
        assert_eq!(table.add(taken_over, 'b', now), Ok(Some(replaced)));
        // Each flow is still in its lists.
        let later = now + SECOND * 120;
        let expired: Vec<_> = std::iter::from_fn(|| table.pop_expired(later)).collect();
        assert_eq!(expired, [(flows[1].0, 'a'), (flows[2].0, 'b')]);
    }

    #[test]
    fn each_class_has_its_timeout() {
        let builder = FlowTable::builder().idle_timeouts([SECOND * 350, SECOND * 120]);
        let mut table = builder.build().unwrap();
        let (start, flows) = (Instant::now(), [key(1, 1), key(1, 2), key(1, 3)]);
        for (class, (key, source)) in flows.into_iter().enumerate() {
            table.insert(key, source, class, class, start).unwrap();
        }
        // A class beyond the last one is the last one.
        table.set_class(&flows[2].0, 7, start + SECOND);
        assert_eq!(table.next_expiry(), Some(start + SECOND * 120));
        let mut expired = |seconds| table.pop_expired(start + SECOND * seconds);
        assert_eq!(expired(120), Some((flows[1].0, 1)));
        assert_eq!((expired(120), expired(121)), (None, Some((flows[2].0, 2))));
        assert_eq!((expired(349), expired(350)), (None, Some((flows[0].0, 0))));
    }

    #[test]
    fn a_full_table_prefers_established_flows_and_then_recent_ones() {
        let builder = FlowTable::builder().max_flows(3).source_share(1.0);
        let mut table = builder.build().unwrap();
        let now = Instant::now();
        for port in 1..=3 {
            assert_eq!(table.add(key(1, port), port, now), Ok(None));
        }
        table.establish(&key(1, 1).0, now);
        assert_eq!(table.add(key(2, 4), 4, now), evicted(key(1, 2), 2));
        table.establish(&key(1, 3).0, now);
        assert_eq!(table.add(key(3, 5), 5, now), evicted(key(2, 4), 4));
        table.establish(&key(3, 5).0, now);
        assert_eq!(table.add(key(4, 6), 6, now), Err(Refusal::TableFull));
        assert_eq!(table.get(&key(1, 1).0, now), Some(&mut 1));
        // Flows that have been idle make room before any other.
        let later = now + SECOND * 120;
        let idle = Removed { key: key(1, 1).0, value: 1, cause: Removal::Expired };
        table.get(&key(1, 3).0, later - SECOND);
        assert_eq!(table.add(key(4, 6), 6, later), Ok(Some(idle)));
    }

    #[test]
    fn a_source_has_at_most_its_share() {
        let builder = FlowTable::builder().max_flows(1000).source_share(0.1);
        let mut table = builder.build().unwrap();
        let now = Instant::now();
        table.add(key(1, 1), 1, now).unwrap();
        table.establish(&key(1, 1).0, now);
        for port in 0..50_000 {
            let removed = table.add(key(2, port), 2, now).unwrap();
            assert_eq!(removed.is_some(), port >= 100, "{port}");
        }
        assert_eq!(table.len(), 101);
        let mut ports = 0..50_000;
        let alive: Vec<_> =
            ports.by_ref().filter(|&port| table.get(&key(2, port).0, now).is_some()).collect();
        assert_eq!(alive, Vec::from_iter(49_900..50_000), "those displaced are its own oldest");
        for port in alive {
            table.establish(&key(2, port).0, now);
        }
        assert_eq!(table.add(key(2, 7), 2, now), Err(Refusal::SourceFull));
        assert_eq!(table.add(key(3, 7), 3, now), Ok(None));
        assert!(table.is_established(&key(1, 1).0));
        let counts = table.counts();
        assert_eq!((counts.evicted, counts.source_full), (49_900, 1));
    }

    #[test]
    fn a_flow_under_a_known_key_replaces_the_one_before() {
        let mut table = FlowTable::builder().max_flows(2).source_share(0.5).build().unwrap();
        let now = Instant::now();
        table.add(key(1, 1), 'a', now).unwrap();
        let replaced = Removed { key: key(1, 1).0, value: 'a', cause: Removal::Replaced };
        assert_eq!(table.add(key(1, 1), 'b', now), Ok(Some(replaced)));
        assert_eq!((table.remove(&key(1, 1).0), table.len()), (Some('b'), 0));
        assert_eq!(table.remove(&key(1, 1).0), None);
    }

    #[test]
    fn networks_of_ipv6_are_one_source() {
        let source = |text: &str| source_of(text.parse().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    }

    /// Random calls, compared with a model that scans.
    #[test]
    fn the_table_agrees_with_a_model() {
        struct Known {
            used: Instant,
            source: IpAddr,
            is_established: bool,
        }
        let (max, share) = (40, 10);
        let timeouts = [SECOND * 16, SECOND * 160];
        let builder = FlowTable::builder().max_flows(max).source_share(0.25);
        let mut table = builder.idle_timeouts(timeouts).build::<usize>().unwrap();
        let mut model: HashMap<FlowKey, (usize, Known)> = HashMap::new();
        let mut rng = crate::rng::Rng::seeded(7);
        let mut below = |limit: u64| rng.bits() % limit;
        let mut now = Instant::now();
        for step in 0..200_000 {
            now += Duration::from_millis(below(if step % 1000 == 0 { 20_000 } else { 200 }));
            let (flow, source) = key(below(8) as u32, below(16) as u16);
            let is_live = |class: usize, known: &Known| now - known.used < timeouts[class];
            let known = model.get_mut(&flow).filter(|(class, known)| is_live(*class, known));
            // In every other phase, known flows stay and get established, until all is full.
            let fills = step / 5000 % 2 == 1 && known.is_some();
            let call = if fills { 9 } else { below(32) };
            match call {
                0..=7 => {
                    let class = below(2) as usize;
                    let from_source =
                        model.values().filter(|(_, known)| known.source == source).count();
                    let len = model.len();
                    match table.insert(flow, source, class, class, now) {
                        Ok(removed) => {
                            if let Some(removed) = removed {
                                let (class, known) = model.remove(&removed.key).unwrap();
                                let is_idle = !is_live(class, &known);
                                assert_eq!(removed.cause == Removal::Expired, is_idle);
                                assert!(removed.cause != Removal::Evicted || !known.is_established);
                            }
                            let known = Known { used: now, source, is_established: false };
                            model.insert(flow, (class, known));
                        }
                        Err(refused) => {
                            let (full, of_source) = (len >= max as usize, from_source >= share);
                            assert!(if of_source {
                                refused.reason == Refusal::SourceFull
                            } else {
                                full && refused.reason == Refusal::TableFull
                            });
                            let relevant = model
                                .values()
                                .filter(|(_, known)| !of_source || known.source == source);
                            assert!(relevant.clone().all(|(_, known)| known.is_established));
                        }
                    }
                }
                8 => {
                    let removed = table.remove(&flow);
                    assert_eq!(removed, model.remove(&flow).map(|(class, _)| class));
                }
                9..=20 => {
                    let found = table.establish(&flow, now).is_some();
                    assert_eq!(found, known.is_some());
                    if let Some((_, known)) = known {
                        (known.used, known.is_established) = (now, true);
                    }
                }
                21 => {
                    while let Some((key, class)) = table.pop_expired(now) {
                        let (_, known) = model.remove(&key).unwrap();
                        assert!(!is_live(class, &known), "expired too early");
                    }
                    for (class, known) in model.values() {
                        let idle = now - known.used;
                        assert!(idle <= timeouts[*class] * 17 / 16, "expires too late");
                    }
                }
                _ => {
                    assert_eq!(table.get(&flow, now).is_some(), known.is_some());
                    if let Some((_, known)) = known {
                        known.used = now;
                    }
                }
            }
            assert_eq!(table.len(), model.len());
            assert!(table.len() <= max as usize);
        }
        let counts = table.counts();
        let each = [counts.expired, counts.evicted, counts.table_full, counts.source_full];
        assert!(each.iter().all(|&count| count > 20), "{counts:?}");
        while let Some((key, _)) = table.pop_expired(now + SECOND * 200) {
            model.remove(&key).unwrap();
        }
        assert!(table.is_empty() && model.is_empty() && table.next_expiry().is_none());
    }
}
