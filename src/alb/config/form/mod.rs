//! The small forms of hand-written files: times with a unit, one text or a list of them, numbers
//! as texts.

mod one_or_many;
mod text_or_number;
mod time;

pub use self::time::{InvalidTime, Time};
pub(super) use self::{
    one_or_many::{OneOrMany, one_or_many},
    text_or_number::{TextOrNumber, text_or_number},
};

use serde::Serialize;

/// Returns true if a field has the value that it has if it is absent.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Returns true for `true`, for fields that are true if absent.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
pub(super) fn is_true(value: &bool) -> bool {
    *value
}

/// Serializes one text as itself, and others as a list.
pub(super) fn as_one_or_many<S: serde::Serializer>(
    values: &[String],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match values {
        [one] => one.serialize(serializer),
        many => many.serialize(serializer),
    }
}
