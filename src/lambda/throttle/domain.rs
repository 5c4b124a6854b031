use std::fmt;

use crate::{
    endpoint::Attributes,
    escape::Escaped,
    lambda::{FunctionName, ThrottleScope},
};

/// The endpoints that a throttle affects: a function in a region, or all functions of an account in
/// a region.
///
/// Function and account are read from the endpoint's name if it is a [`FunctionName`]. The region
/// is that of the endpoint's locality, or else of the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Domain {
    account: Option<Box<str>>,
    region: Option<Box<str>>,
    /// `None` for the whole region.
    function: Option<Box<str>>,
}

impl Domain {
    /// Returns the domain of a throttle at an endpoint; `None` if the throttle affects every
    /// endpoint, since leaving some out would not help.
    pub(super) fn of(name: &str, attributes: &Attributes, scope: ThrottleScope) -> Option<Self> {
        match scope {
            ThrottleScope::Function => Some(Self::of_function(name, attributes)),
            ThrottleScope::Region => {
                Some(Self { function: None, ..Self::of_function(name, attributes) })
            }
            ThrottleScope::Caller => None,
        }
    }

    /// Returns the function's domain. An endpoint whose name is not a function name has its own.
    pub(super) fn of_function(name: &str, attributes: &Attributes) -> Self {
        let parsed = name.parse::<FunctionName>().ok();
        let parsed = parsed.as_ref();
        let locality = attributes.locality().map(|locality| locality.region());
        let region = locality.or_else(|| parsed.and_then(FunctionName::region));
        Self {
            account: parsed.and_then(FunctionName::account).map(Into::into),
            region: region.map(Into::into),
            function: Some(parsed.map_or(name, FunctionName::name).into()),
        }
    }

    pub(super) fn is_region(&self) -> bool {
        self.function.is_none()
    }

    pub(super) fn contains(&self, endpoint: &Self) -> bool {
        self.region == endpoint.region
            && self.account == endpoint.account
            && (self.is_region() || self.function == endpoint.function)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some(function) => write!(f, "function {}", Escaped(function))?,
            None => f.write_str("all functions")?,
        }
        match &self.region {
            Some(region) => write!(f, " in {}", Escaped(region)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Endpoint, Locality};

    fn domain(name: &str, region: Option<&str>, scope: ThrottleScope) -> Domain {
        let mut endpoint = Endpoint::new(());
        if let Some(region) = region {
            endpoint = endpoint.with_locality(Locality::new(region, ""));
        }
        Domain::of(name, &endpoint, scope).unwrap()
    }

    #[test]
    fn versions_and_aliases_of_a_function_share_a_domain() {
        let of = |name| domain(name, None, ThrottleScope::Function);
        assert!(of("orders:1").contains(&of("orders:live")));
        assert!(!of("orders:1").contains(&of("stock:1")));
        assert!(!of("eu/orders").contains(&of("us/orders")), "not names of functions");
        let eu = of("arn:aws:lambda:eu-west-1:123456789012:function:orders:1");
        let us = of("arn:aws:lambda:us-east-1:123456789012:function:orders:1");
        assert!(!eu.contains(&us));
    }

    #[test]
    fn a_region_is_that_of_the_locality_or_of_the_arn() {
        let eu = domain("orders", Some("eu-west-1"), ThrottleScope::Region);
        let of = |name, region| domain(name, region, ThrottleScope::Function);
        assert!(eu.contains(&of("stock", Some("eu-west-1"))));
        assert!(!eu.contains(&of("stock", Some("us-east-1"))));
        assert!(!eu.contains(&of("stock", None)));
        let arn = "arn:aws:lambda:eu-west-1:123456789012:function:orders";
        let account = domain(arn, None, ThrottleScope::Region);
        assert!(account.contains(&of("123456789012:function:stock", Some("eu-west-1"))));
        assert!(!account.contains(&of("210987654321:function:stock", Some("eu-west-1"))));
    }
}
