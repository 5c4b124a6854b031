use crate::endpoint::Endpoint;

/// One change of the set of endpoints.
#[derive(Clone, Debug, PartialEq)]
pub enum Update<K, T> {
    /// A new endpoint, or new target and attributes for one that is known by this key.
    Insert(K, Endpoint<T>),
    /// The endpoint is gone; requests in flight may finish.
    Remove(K),
    /// The whole set, applied as one change: what is not in it is gone, what is known by its key goes
    /// on. Of endpoints with the same key the last counts.
    Reset(Vec<(K, Endpoint<T>)>),
}
