use std::collections::HashSet;

use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    api::SlicesApi,
    slice::ObjectMeta,
    slices::{Limits, Slices, check_limit},
};
use crate::{
    BoxError,
    discover::source::{http_api::percent_encode, validation::BoundedVec},
};

/// The number of slices that a page is requested to have.
const PAGE_SLICES: usize = 500;
/// The largest number of slices in a page, which is the whole list if the server does not use
/// pages.
const MAX_SLICES_PER_PAGE: usize = 20_000;

#[derive(Deserialize)]
struct Page<'a> {
    metadata: ObjectMeta,
    /// Parsed one by one, so that the limits are checked before all slices are in memory.
    #[serde(borrow)]
    items: Option<BoundedVec<&'a RawValue, MAX_SLICES_PER_PAGE>>,
}

/// Reads all slices page by page. Returns them with the version from which to watch.
pub(super) async fn list(api: &SlicesApi, limits: &Limits) -> Result<(Slices, String), BoxError> {
    let mut limit = format!("&limit={PAGE_SLICES}");
    let (mut slices, mut token) = (Slices::default(), None::<String>);
    let (mut seen, mut pages, mut bytes) = (HashSet::new(), 0_usize, 0_usize);
    loop {
        let parameters = match &token {
            None => limit.clone(),
            Some(token) => format!("{limit}&continue={}", percent_encode(token)),
        };
        pages += 1;
        check_limit("pages", pages, limits.pages)?;
        let response = api.get(&parameters).await?;
        if response.status() == StatusCode::GONE && token.is_some() && !limit.is_empty() {
            // The token has expired, because reading the pages took too long. Requesting the whole
            // list in one page cannot expire.
            (slices, token, limit) = (Slices::default(), None, String::new());
            seen.clear();
            continue;
        }
        if response.status() != StatusCode::OK {
            return Err(api.unexpected(response).await);
        }
        let body = api.read(response).await?;
        bytes = bytes.saturating_add(body.len());
        check_limit("bytes", bytes, limits.bytes)?;
        let page: Page<'_> = serde_json::from_slice(&body)?;
        for item in page.items.into_iter().flat_map(|items| items.0) {
            slices.insert(serde_json::from_str(item.get())?, item.get().len(), limits)?;
        }
        match page.metadata.next.filter(|next| !next.is_empty()) {
            None => return Ok((slices, page.metadata.resource_version)),
            Some(again) if !seen.insert(again.clone()) => {
                let endless =
                    "the list of EndpointSlices has no end: a `continue` token was repeated";
                return Err(endless.into());
            }
            next => token = next,
        }
    }
}
