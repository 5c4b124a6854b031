//! Sources that are polled: [`Refresh`] calls an async function at the times of a [`Schedule`] and
//! reports its results in a [`SourceStatus`].

#[allow(clippy::module_inception)]
mod refresh;
mod schedule;
mod source_error;
mod source_status;

pub use self::{
    refresh::{Fetched, Refresh, refresh},
    schedule::Schedule,
    source_error::SourceError,
    source_status::{SourceReport, SourceStatus, WeakSourceStatus},
};
