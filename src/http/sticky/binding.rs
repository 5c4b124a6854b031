use super::{config::MAX_KEYS, session_key::SessionKey};

/// The longest value of an application cookie that a session is bound to, in bytes. Browsers keep
/// no longer cookie.
pub(super) const MAX_APPLICATION_COOKIE_BYTES: usize = 4096;

/// The binding of a session that follows no application cookie.
pub(super) const UNBOUND: u64 = 1;

/// The value that stands for no binding. [`SessionKey::binding`] never returns it.
pub(super) const NO_BINDING: u64 = 0;

/// What the session of a request is bound to under each key.
///
/// The application cookie is hashed on demand and once for each key, because a request may carry
/// several tokens of which none is authentic.
pub(super) struct Bindings<'a> {
    keys: &'a [SessionKey],
    /// `None` if sessions follow no application cookie.
    value: Option<&'a [u8]>,
    /// The bindings by key; [`NO_BINDING`] if one has not been computed.
    computed: [u64; MAX_KEYS],
}

impl<'a> Bindings<'a> {
    pub(super) fn new(keys: &'a [SessionKey], value: Option<&'a [u8]>) -> Self {
        Self { keys, value, computed: [NO_BINDING; MAX_KEYS] }
    }

    /// Returns whether an application cookie with this value can have a session.
    pub(super) fn can_be_bound_to(value: &[u8]) -> bool {
        (1..=MAX_APPLICATION_COOKIE_BYTES).contains(&value.len())
    }

    /// Returns the binding under the key with this index, or [`NO_BINDING`] if there is no such
    /// key.
    pub(super) fn under(&mut self, index: usize) -> u64 {
        let Some(value) = self.value else { return UNBOUND };
        let (Some(key), Some(computed)) = (self.keys.get(index), self.computed.get_mut(index))
        else {
            return NO_BINDING;
        };
        if *computed == NO_BINDING {
            *computed = key.binding(value);
        }
        *computed
    }
}
