use std::fmt;

/// A value that `Debug` does not show, such as a function or a secret.
#[derive(Clone, Copy)]
pub(crate) struct Opaque<T>(pub(crate) T);

impl<T> fmt::Debug for Opaque<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}
