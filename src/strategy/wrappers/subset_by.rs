use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use super::{
    built_parts::{BuiltParts, PartPicker},
    part_strategies::PartStrategies,
    subset::Labels,
};
use crate::{
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy,
        explain::{Brief, Observe, observed_pick},
    },
};

/// Selects among endpoints whose labels have the values that the request asks for, with an ordered
/// list of fallback subsets.
///
/// ```
/// use tower_lb::strategy::{P2c, SubsetBy};
///
/// struct Request {
///     version: Option<String>,
/// }
///
/// fn wanted<'a>(request: &'a Request, label: &str) -> Option<&'a str> {
///     match label {
///         "version" => request.version.as_deref(),
///         _ => None,
///     }
/// }
///
/// let strategy = SubsetBy::new(P2c::default(), ["version"], wanted)
///     .or_fixed([("stage", "prod")])
///     .or_any();
/// ```
///
/// A picker is built in advance for each combination of values that endpoints have: for each item
/// of the list at most as many as there are endpoints. A pick takes one hash table lookup per label
/// to find it.
///
/// The list works as that of [`Subset`](crate::strategy::Subset). An item is skipped if the request
/// asks for no value of one of its labels, or for values that no endpoint has.
pub struct SubsetBy<S, W> {
    wanted: Arc<W>,
    items: Vec<Item>,
    parts: PartStrategies<Key, S>,
}

/// Identifies a part: the index of the item in the list, and the values of its labels.
type Key = (usize, Vec<String>);

/// One item of the list.
#[derive(Clone, Debug)]
enum Item {
    /// Labels whose values the request asks for.
    Asked(Vec<String>),
    /// Labels with fixed values.
    Fixed(Labels),
}

impl<S: Strategy + Clone, W> SubsetBy<S, W> {
    /// Selects, by the strategy `inner`, among endpoints whose values of all `labels` are those
    /// that the request asks for.
    ///
    /// `wanted` returns the value that a request asks for, given the name of a label. It runs for
    /// each request and should not allocate.
    pub fn new<Req>(
        inner: S,
        labels: impl IntoIterator<Item = impl Into<String>>,
        wanted: W,
    ) -> Self
    where
        W: for<'a> Fn(&'a Req, &str) -> Option<&'a str>,
    {
        let parts = PartStrategies::new(inner);
        Self { wanted: Arc::new(wanted), items: Vec::new(), parts }.or(labels)
    }

    /// Adds a fallback: endpoints whose values of `labels` are those that the request asks for.
    #[must_use]
    pub fn or(mut self, labels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.items.push(Item::Asked(labels.into_iter().map(Into::into).collect()));
        self
    }

    /// Adds a fallback: endpoints that have all of `labels`, whatever the request asks for.
    #[must_use]
    pub fn or_fixed(
        mut self,
        labels: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        self.items.push(Item::Fixed(Labels::new(labels)));
        self
    }

    /// Adds all endpoints as the last fallback.
    #[must_use]
    pub fn or_any(mut self) -> Self {
        self.items.push(Item::Fixed(Labels::default()));
        self
    }
}

impl<S: Strategy + Clone, W> Strategy for SubsetBy<S, W> {
    type Picker = SubsetByPicker<S::Picker, W>;

    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<Self::Picker> {
        let (mut inner, mut all) = (self.parts.rebuild(), BuiltParts::default());
        let last = self.items.len() - 1;
        let tables = self.items.iter().enumerate().map(|(index, item)| {
            item.table(index, candidates, |key, part| {
                let name = format!("subset {}", key.1.join(", "));
                let part = if index == last { part.confined() } else { part };
                all.add(name, inner.build(key, &part, context))
            })
        });
        let tables = tables.collect();
        all.finish(candidates, SubsetByPicker { tables, wanted: Arc::clone(&self.wanted) })
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.parts.meter()
    }
}

impl Item {
    fn table<P>(
        &self,
        index: usize,
        candidates: &Candidates,
        mut build: impl FnMut(Key, Candidates) -> Option<PartPicker<P>>,
    ) -> Table<P> {
        let mut table = Table { labels: [].into(), root: Node::default() };
        let mut add = |values: &[&str], candidates: Candidates| {
            let key = values.iter().map(|&value| value.to_owned()).collect();
            if let Some(part) = build((index, key), candidates) {
                table.root.insert(values, part);
            }
        };
        match self {
            Self::Fixed(labels) => add(&[], labels.select(candidates)),
            Self::Asked(labels) => {
                // Sorted, so that the notices are in a stable order.
                let parts = candidates.partition(|one| values(one, labels));
                for (values, candidates) in BTreeMap::from_iter(parts) {
                    add(&values, candidates);
                }
                table.labels = labels.clone().into();
            }
        }
        table
    }
}

/// Returns the endpoint's values of these labels, or `None` if it lacks one.
fn values<'a>(candidate: &'a Candidate, labels: &[String]) -> Option<Vec<&'a str>> {
    labels.iter().map(|label| candidate.metadata().get(label)).collect()
}

/// The picker of [`SubsetBy`].
#[expect(unnameable_types, reason = "named as <SubsetBy as Strategy>::Picker")]
pub struct SubsetByPicker<P, W> {
    tables: Box<[Table<P>]>,
    wanted: Arc<W>,
}

/// The parts of one item of the list.
#[derive(Debug)]
struct Table<P> {
    labels: Box<[String]>,
    root: Node<P>,
}

/// A tree that leads to a part by the value of one label per level.
#[derive(Debug)]
enum Node<P> {
    Branch(HashMap<Box<str>, Self>),
    Leaf(PartPicker<P>),
}

impl<P> Default for Node<P> {
    fn default() -> Self {
        Self::Branch(HashMap::new())
    }
}

impl<P> Node<P> {
    fn insert(&mut self, values: &[&str], part: PartPicker<P>) {
        match (values, &mut *self) {
            ([], _) => *self = Self::Leaf(part),
            ([value, rest @ ..], Self::Branch(next)) => {
                next.entry((*value).into()).or_default().insert(rest, part);
            }
            // Unreachable: all paths have one level per label.
            ([..], Self::Leaf(_)) => {}
        }
    }
}

impl<P> Table<P> {
    fn find<'a, Req, W>(&self, request: &'a Req, wanted: &W) -> Option<&PartPicker<P>>
    where
        W: Fn(&'a Req, &str) -> Option<&'a str>,
    {
        let mut node = &self.root;
        for label in &self.labels {
            let Node::Branch(next) = node else { return None };
            node = next.get(wanted(request, label)?)?;
        }
        match node {
            Node::Leaf(part) => Some(part),
            Node::Branch(_) => None,
        }
    }
}

impl<P, W> SubsetByPicker<P, W> {
    fn pick_with<Req>(
        &self,
        request: &Req,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate>
    where
        P: Pick<Req>,
        W: for<'a> Fn(&'a Req, &str) -> Option<&'a str>,
    {
        observer.step("subset by");
        observer.say(|| self.describe(request));
        let parts = self.tables.iter().filter_map(|table| table.find(request, &*self.wanted));
        PartPicker::first_accepted_with(parts, request, context, observer)
    }

    /// Describes what the request asks for and the first item that has it.
    fn describe<Req>(&self, request: &Req) -> String
    where
        W: for<'a> Fn(&'a Req, &str) -> Option<&'a str>,
    {
        let mut labels: Vec<&str> = Vec::new();
        for label in self.tables.iter().flat_map(|table| &table.labels) {
            if !labels.contains(&&**label) {
                labels.push(label);
            }
        }
        let asked = labels.iter().filter_map(|&label| {
            let value = (self.wanted)(request, label)?;
            Some(format!("{}={}", Brief::name(label), Brief::name(value)))
        });
        let mut asked = asked.collect::<Vec<_>>().join(", ");
        if asked.is_empty() {
            "nothing".clone_into(&mut asked);
        }
        let first = self.tables.iter().find_map(|table| table.find(request, &*self.wanted));
        match first {
            Some(part) => format!("the request asks for {asked}, which is {}", part.name()),
            None => format!("the request asks for {asked}, which no subset has"),
        }
    }
}

impl<P, W, Req> Pick<Req> for SubsetByPicker<P, W>
where
    P: Pick<Req>,
    W: for<'a> Fn(&'a Req, &str) -> Option<&'a str>,
{
    observed_pick!(Req);
}

impl<S: Clone, W> Clone for SubsetBy<S, W> {
    fn clone(&self) -> Self {
        let (wanted, items) = (Arc::clone(&self.wanted), self.items.clone());
        Self { wanted, items, parts: self.parts.clone() }
    }
}

impl<S: fmt::Debug, W> fmt::Debug for SubsetBy<S, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubsetBy")
            .field("parts", &self.parts)
            .field("items", &self.items)
            .finish_non_exhaustive()
    }
}

impl<P: fmt::Debug, W> fmt::Debug for SubsetByPicker<P, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubsetByPicker").field("tables", &self.tables).finish_non_exhaustive()
    }
}
