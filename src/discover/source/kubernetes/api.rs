use std::time::Duration;

use tokio::time::timeout;

use crate::{
    BoxError,
    discover::{
        HttpApi,
        source::http_api::{self, ApiResponse},
    },
};

/// The EndpointSlices of a service at the API server.
pub(super) struct SlicesApi {
    http: HttpApi,
    /// The path and the beginning of the query.
    path: String,
    timeout: Option<Duration>,
}

impl SlicesApi {
    pub(super) fn new(http: HttpApi, path: String, timeout: Option<Duration>) -> Self {
        Self { http, path, timeout }
    }

    /// Sends a GET request with more parameters for the query.
    pub(super) async fn get(&self, parameters: &str) -> Result<ApiResponse, BoxError> {
        let path = format!("{}{parameters}", self.path);
        within(self.timeout, self.http.get(&path, None)).await?
    }

    /// Reads the whole body of a response.
    pub(super) async fn read(&self, response: ApiResponse) -> Result<Vec<u8>, BoxError> {
        within(self.timeout, http_api::read(response)).await?
    }

    /// Returns the error for a response with an unexpected status.
    pub(super) async fn unexpected(&self, response: ApiResponse) -> BoxError {
        // The body may never arrive.
        within(self.timeout, http_api::unexpected(response)).await.unwrap_or_else(|silent| silent)
    }
}

/// Fails if a future takes longer than `limit`.
pub(super) async fn within<F: Future>(
    limit: Option<Duration>,
    future: F,
) -> Result<F::Output, BoxError> {
    match limit {
        None => Ok(future.await),
        Some(limit) => {
            let silent = |_| format!("the API server sent nothing for {limit:?}").into();
            timeout(limit, future).await.map_err(silent)
        }
    }
}
