use crate::{
    ParseError,
    discover::{List, list},
    endpoint::{Endpoint, Locality},
    lambda::FunctionName,
};

/// Returns a source of endpoints with a fixed list of functions. Each function is its own key; its
/// locality is the region of its ARN, if it has one.
///
/// ```
/// use tower_lb::lambda;
///
/// let functions = lambda::functions([
///     "arn:aws:lambda:eu-west-1:123456789012:function:orders:live",
///     "arn:aws:lambda:us-east-1:123456789012:function:orders:live",
/// ])?;
/// # Ok::<_, tower_lb::ParseError>(())
/// ```
///
/// # Errors
///
/// Fails with a [`ParseError`] for the first text that is not a [`FunctionName`].
pub fn functions<'a>(
    names: impl IntoIterator<Item = &'a str>,
) -> Result<List<FunctionName, FunctionName>, ParseError> {
    let endpoint = |name: &str| {
        let name: FunctionName = name.parse()?;
        let mut endpoint = Endpoint::new(name.clone());
        if let Some(region) = name.region() {
            endpoint = endpoint.with_locality(Locality::new(region, ""));
        }
        Ok((name, endpoint))
    };
    let endpoints: Result<Vec<_>, _> = names.into_iter().map(endpoint).collect();
    endpoints.map(list)
}
