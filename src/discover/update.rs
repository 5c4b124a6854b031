use crate::endpoint::Endpoint;

/// A change to the set of endpoints.
#[derive(Clone, Debug, PartialEq)]
pub enum Update<K, T> {
    /// Adds an endpoint, or replaces the target and the attributes of the endpoint with this key.
    Insert(K, Endpoint<T>),
    /// Removes the endpoint. Requests in flight may finish.
    Remove(K),
    /// Replaces the whole set as one change. Endpoints that are not in it are removed; endpoints
    /// with a known key stay. The last of several endpoints with the same key is used.
    Reset(Vec<(K, Endpoint<T>)>),
}
