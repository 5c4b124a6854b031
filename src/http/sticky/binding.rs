use super::{config::MAX_KEYS, key::Key, sessions::UNBOUND};

/// The longest value of an application's cookie that a session is bound to: what browsers keep of a
/// cookie.
pub(super) const MAX_APPLICATION_COOKIE: usize = 4096;

/// What a request's session is bound to under each key.
///
/// The application's cookie is hashed when that is first needed, and once for each key: a request may
/// carry several tokens, and nothing about it is authentic yet.
pub(super) struct Bindings<'a> {
    keys: &'a [Key],
    /// `None` if sessions follow no cookie of the application's.
    value: Option<&'a [u8]>,
    /// By key; 0, which no binding is, if it is not known yet.
    known: [u64; MAX_KEYS],
}

impl<'a> Bindings<'a> {
    pub(super) fn new(keys: &'a [Key], value: Option<&'a [u8]>) -> Self {
        Self { keys, value, known: [0; MAX_KEYS] }
    }

    /// Whether an application's cookie of this value can have a session.
    pub(super) fn can_be_bound_to(value: &[u8]) -> bool {
        (1..=MAX_APPLICATION_COOKIE).contains(&value.len())
    }

    /// Under the key of this index; 0 if there is none.
    pub(super) fn under(&mut self, index: usize) -> u64 {
        let Some(value) = self.value else { return UNBOUND };
        let (Some(key), Some(known)) = (self.keys.get(index), self.known.get_mut(index)) else {
            return 0;
        };
        if *known == 0 {
            *known = key.binding(value);
        }
        *known
    }
}
