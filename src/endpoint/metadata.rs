use std::{collections::BTreeMap, sync::Arc};

/// The labels that discovery gives an endpoint: a map from names to values.
///
/// An empty map costs no allocation, and clones share one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(Option<Arc<BTreeMap<String, String>>>);

impl Metadata {
    pub(super) const EMPTY: Self = Self(None);

    /// Returns the value of a label.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.as_ref()?.get(name).map(String::as_str)
    }

    /// Returns all labels in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|map| map.iter()).map(|(name, value)| (&**name, &**value))
    }

    /// Returns true if there is no label.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn insert(&mut self, name: String, value: String) {
        Arc::make_mut(self.0.get_or_insert_default()).insert(name, value);
    }
}

impl FromIterator<(String, String)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(labels: I) -> Self {
        let map: BTreeMap<_, _> = labels.into_iter().collect();
        Self((!map.is_empty()).then(|| Arc::new(map)))
    }
}
