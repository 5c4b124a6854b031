use std::{error::Error as StdError, fmt, time::Duration};

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
        match within(self.timeout, http_api::unexpected(response)).await {
            Ok(error) => error,
            Err(silent) => silent.into(),
        }
    }
}

/// Fails if a future takes longer than `limit`.
pub(super) async fn within<F: Future>(
    limit: Option<Duration>,
    future: F,
) -> Result<F::Output, Silent> {
    match limit {
        None => Ok(future.await),
        Some(limit) => timeout(limit, future).await.map_err(|_| Silent(limit)),
    }
}

/// The API server sent nothing for this time.
#[derive(Debug)]
pub(super) struct Silent(Duration);

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the API server sent nothing for {:?}", self.0)
    }
}

impl StdError for Silent {}
