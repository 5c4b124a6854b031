use std::{error::Error as StdError, io};

use super::chain;

/// Returns true if an error, or a source of it, is a lack of descriptors or memory in this process.
/// Such an error says nothing about an endpoint.
pub(crate) fn is_local_lack(error: &(dyn StdError + 'static)) -> bool {
    /// `ENFILE` and `EMFILE`, which have these numbers on all Unix systems.
    const NO_DESCRIPTOR: [i32; 2] = [23, 24];
    chain(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|error| {
        error.raw_os_error().is_some_and(|number| NO_DESCRIPTOR.contains(&number))
            || error.kind() == io::ErrorKind::OutOfMemory
    })
}
