use std::{collections::BTreeMap, fmt, sync::Arc};

use super::super::{HashKey, InvalidParameter};

/// The keys that a [`Config`](super::Config) may name, for strategies that hash.
pub struct Keys<Req>(BTreeMap<String, NamedKey<Req>>);

impl<Req> Keys<Req> {
    /// No key.
    #[must_use]
    pub fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a key, replacing one of the same name.
    #[must_use]
    pub fn with(
        mut self,
        name: impl Into<String>,
        key: impl HashKey<Req> + Send + Sync + 'static,
    ) -> Self {
        self.0.insert(name.into(), NamedKey(Arc::new(key)));
        self
    }

    pub(super) fn get(&self, name: &str) -> Result<NamedKey<Req>, InvalidParameter> {
        let unknown = || InvalidParameter::new("key", "the name of a key that the program gives");
        self.0.get(name).cloned().ok_or_else(unknown)
    }
}

impl<Req> Default for Keys<Req> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Req> fmt::Debug for Keys<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// One of them.
pub(super) struct NamedKey<Req>(Arc<dyn HashKey<Req> + Send + Sync>);

impl<Req> Clone for NamedKey<Req> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Req> HashKey<Req> for NamedKey<Req> {
    fn hash(&self, request: &Req) -> Option<u64> {
        self.0.hash(request)
    }
}
