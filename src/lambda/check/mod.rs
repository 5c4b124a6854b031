//! Health checks that invoke functions: `DryRun` is free, `EventCheck` and `WarmUp` cost an
//! invocation.

mod check_invocation;
mod dry_run;
mod event_check;
mod warm_up;

pub use self::{dry_run::DryRun, event_check::EventCheck, warm_up::WarmUp};
