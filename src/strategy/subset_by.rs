use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    Candidate, Candidates, Pick, PickContext, Strategy,
    part::{Part, first_accepted, poll_updates},
    subset::Labels,
};
use crate::outcome::Meter;

/// Only endpoints whose labels have the values that the request asks for, chosen among by any
/// strategy; with an ordered list of what else will do.
///
/// ```
/// use tower_lb::strategy::{P2c, SubsetBy};
///
/// struct Request {
///     version: Option<String>,
/// }
///
/// let strategy = SubsetBy::new(P2c::default, ["version"], |request: &Request, label| match label {
///     "version" => request.version.as_deref(),
///     _ => None,
/// })
/// .or_fixed([("stage", "prod")])
/// .or_any();
/// ```
///
/// There is a picker for every combination of values that endpoints have, prebuilt by a strategy of
/// its own: no more of them than endpoints for each item of the list. Finding it takes one look-up
/// in a hash table for each label, whatever their number.
///
/// The list is gone down as that of [`Subset`](super::Subset) is. An item that names a label for
/// which the request asks no value is passed over, and so is one whose values no endpoint has.
pub struct SubsetBy<S, F, W> {
    make: F,
    /// For meters.
    sample: S,
    wanted: Arc<W>,
    items: Vec<Item>,
    /// By item and values, kept from picker to picker.
    strategies: HashMap<(usize, Vec<String>), S>,
}

/// One item of the list.
#[derive(Clone, Debug)]
enum Item {
    /// Labels whose values the request names.
    Asked(Vec<String>),
    Fixed(Labels),
}

impl<S, F, W> SubsetBy<S, F, W>
where
    S: Strategy,
    F: FnMut() -> S,
{
    /// Endpoints whose values of all these labels are those that the request wants.
    ///
    /// `make` makes the strategy of each subset. `wanted` says what value the request wants a label
    /// to have, and is asked for each request: it should not allocate.
    pub fn new<Req>(
        mut make: F,
        labels: impl IntoIterator<Item = impl Into<String>>,
        wanted: W,
    ) -> Self
    where
        W: for<'a> Fn(&'a Req, &str) -> Option<&'a str>,
    {
        let (sample, wanted) = (make(), Arc::new(wanted));
        Self { make, sample, wanted, items: Vec::new(), strategies: HashMap::new() }.or(labels)
    }

    /// If none of those is eligible: endpoints whose values of these labels are those that the
    /// request wants.
    #[must_use]
    pub fn or(mut self, labels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.items.push(Item::Asked(labels.into_iter().map(Into::into).collect()));
        self
    }

    /// If none of those is eligible: endpoints that have these labels, whatever the request wants.
    #[must_use]
    pub fn or_fixed(
        mut self,
        labels: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        self.items.push(Item::Fixed(Labels::new(labels)));
        self
    }

    /// If none of those is eligible: any endpoint.
    #[must_use]
    pub fn or_any(mut self) -> Self {
        self.items.push(Item::Fixed(Labels::default()));
        self
    }
}

impl<S, F, W> Strategy for SubsetBy<S, F, W>
where
    S: Strategy,
    F: FnMut() -> S,
{
    type Picker = SubsetByPicker<S::Picker, W>;

    fn picker(&mut self, candidates: &Candidates) -> Self::Picker {
        let mut before = std::mem::take(&mut self.strategies);
        let mut part = |item: usize, values: &[&str], candidates: Candidates| {
            let key = (item, values.iter().map(|&value| value.to_owned()).collect());
            let mut strategy = before.remove(&key).unwrap_or_else(&mut self.make);
            let part = Part::new(&mut strategy, candidates);
            self.strategies.insert(key, strategy);
            part
        };
        let tables = self.items.iter().enumerate().map(|(index, item)| {
            let mut table = Table { labels: [].into(), root: Node::default() };
            match item {
                Item::Fixed(labels) => {
                    let part = part(index, &[], labels.select(candidates));
                    part.into_iter().for_each(|part| table.root.insert(&[], part));
                }
                Item::Asked(labels) => {
                    table.labels = labels.clone().into();
                    let values = |candidate| values(candidate, labels);
                    for (values, candidates) in candidates.partition(values) {
                        let part = part(index, &values, candidates);
                        part.into_iter().for_each(|part| table.root.insert(&values, part));
                    }
                }
            }
            table
        });
        SubsetByPicker { tables: tables.collect(), wanted: Arc::clone(&self.wanted) }
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.sample.meter()
    }

    fn poll_update(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        poll_updates(self.strategies.values_mut(), cx)
    }
}

/// The endpoint's values of these labels; `None` if it lacks one.
fn values<'a>(candidate: &'a Candidate, labels: &[String]) -> Option<Vec<&'a str>> {
    labels.iter().map(|label| candidate.metadata().get(label)).collect()
}

/// The picker of [`SubsetBy`].
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

/// Leads to a part by the value of one label after the other.
#[derive(Debug)]
enum Node<P> {
    Branch(HashMap<Box<str>, Self>),
    Leaf(Part<P>),
}

impl<P> Default for Node<P> {
    fn default() -> Self {
        Self::Branch(HashMap::new())
    }
}

impl<P> Node<P> {
    fn insert(&mut self, values: &[&str], part: Part<P>) {
        match (values, &mut *self) {
            ([], _) => *self = Self::Leaf(part),
            ([value, rest @ ..], Self::Branch(next)) => {
                next.entry((*value).into()).or_default().insert(rest, part);
            }
            // All paths are equally long.
            ([..], Self::Leaf(_)) => {}
        }
    }
}

impl<P> Table<P> {
    fn find<'a, Req, W>(&self, request: &'a Req, wanted: &W) -> Option<&Part<P>>
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

impl<P, W, Req> Pick<Req> for SubsetByPicker<P, W>
where
    P: Pick<Req>,
    W: for<'a> Fn(&'a Req, &str) -> Option<&'a str>,
{
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let parts = self.tables.iter().filter_map(|table| table.find(request, &*self.wanted));
        first_accepted(parts, request, context)
    }
}

impl<S: fmt::Debug, F, W> fmt::Debug for SubsetBy<S, F, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubsetBy")
            .field("inner", &self.sample)
            .field("items", &self.items)
            .finish_non_exhaustive()
    }
}

impl<P: fmt::Debug, W> fmt::Debug for SubsetByPicker<P, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubsetByPicker").field("tables", &self.tables).finish_non_exhaustive()
    }
}
