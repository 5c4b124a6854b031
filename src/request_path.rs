use http::{Uri, uri::PathAndQuery};

use crate::ParseError;

/// Parses the path of a request that this crate sends by itself, such as a health check.
///
/// Without a slash, `Uri` takes it for a host, and the request would be for `/`.
pub(crate) fn request_path(text: &str) -> Result<Uri, ParseError> {
    let invalid = || ParseError::new("path", text, "a path such as /healthz");
    if !text.starts_with('/') || text.contains('#') {
        return Err(invalid());
    }
    let path = text.parse::<PathAndQuery>();
    Ok(path.map_err(|error| invalid().with_source(error))?.into())
}
