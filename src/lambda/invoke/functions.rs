use crate::{
    discover::{List, list},
    endpoint::{Endpoint, Locality},
    lambda::{FunctionName, InvalidName},
};

/// Functions that are known beforehand: a source of endpoints, each its own key, in the region that
/// its ARN has.
///
/// ```
/// use tower_lb::lambda;
///
/// let functions = lambda::functions([
///     "arn:aws:lambda:eu-west-1:123456789012:function:orders:live",
///     "arn:aws:lambda:us-east-1:123456789012:function:orders:live",
/// ])?;
/// # Ok::<_, lambda::InvalidName>(())
/// ```
///
/// # Errors
///
/// [`InvalidName`] for the first that names no function.
pub fn functions<'a>(
    names: impl IntoIterator<Item = &'a str>,
) -> Result<List<FunctionName, FunctionName>, InvalidName> {
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
