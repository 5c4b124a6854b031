use crate::endpoint::Endpoint;

/// A change to the set of endpoints.
#[derive(Clone, Debug, PartialEq)]
pub enum Update<K, T> {
    /// Adds an endpoint, or changes the endpoint with this key. With another target, it is another
    /// endpoint and starts with new state; see [`Endpoint`].
    Insert(K, Endpoint<T>),
    /// Removes the endpoint. Requests in flight may finish.
    Remove(K),
    /// Replaces the whole set as one change. Endpoints that are not in it are removed; endpoints
    /// with a known key stay. The last of several endpoints with the same key is used.
    Reset(Vec<(K, Endpoint<T>)>),
}

impl<K, T> Update<K, T> {
    /// Changes each key and each endpoint with a function.
    pub(super) fn map<L, U>(
        self,
        mut key: impl FnMut(K) -> L,
        mut endpoint: impl FnMut(&K, Endpoint<T>) -> Endpoint<U>,
    ) -> Update<L, U> {
        let mut both = |(old, before)| {
            let after = endpoint(&old, before);
            (key(old), after)
        };
        match self {
            Self::Insert(old, before) => {
                let (key, endpoint) = both((old, before));
                Update::Insert(key, endpoint)
            }
            Self::Remove(old) => Update::Remove(key(old)),
            Self::Reset(all) => Update::Reset(all.into_iter().map(both).collect()),
        }
    }
}
