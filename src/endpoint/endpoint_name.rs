use std::{
    fmt::{self, Display, Write},
    sync::{Arc, OnceLock},
};

/// The name of an endpoint, which clones of it in several balancers share.
///
/// The name is the key as text. It takes more memory than the key, and most of the balancers of a
/// broadcast have the same keys. The first of them makes the name, and the others use it.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndpointName {
    /// `None` if the endpoint is for one balancer, which then keeps the name alone.
    cell: Option<Arc<OnceLock<Arc<str>>>>,
}

impl EndpointName {
    /// Creates a name that clones share once one of them has made it.
    pub(crate) fn unset() -> Self {
        Self { cell: Some(Arc::default()) }
    }

    /// Returns `key` as text.
    pub(crate) fn of(&self, key: &impl Display) -> Arc<str> {
        let own = || key.to_string().into();
        let Some(cell) = &self.cell else { return own() };
        let name = cell.get_or_init(own);
        // A balancer may have changed the keys.
        if displays_as(key, name) { Arc::clone(name) } else { own() }
    }
}

/// Returns whether `key` is displayed as `text`, without an allocation.
fn displays_as(key: &impl Display, text: &str) -> bool {
    let mut rest = Rest(text);
    write!(rest, "{key}").is_ok() && rest.0.is_empty()
}

/// The part of a text that was not written yet.
struct Rest<'t>(&'t str);

impl Write for Rest<'_> {
    fn write_str(&mut self, written: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(written).ok_or(fmt::Error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_share_a_name_and_other_keys_have_their_own() {
        let shared = EndpointName::unset();
        let first = shared.of(&"10.0.0.1:80");
        let clone = shared.clone();
        assert!(Arc::ptr_eq(&first, &clone.of(&"10.0.0.1:80")));
        for key in ["10.0.0.1:8", "10.0.0.1:800", "", "b"] {
            assert_eq!(&*shared.of(&key), key);
        }
        assert_eq!(&*EndpointName::default().of(&7), "7");
    }
}
