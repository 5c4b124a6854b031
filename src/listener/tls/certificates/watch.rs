use std::{sync::Weak, time::Duration};

use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use super::handle::Shared;
use crate::escape::Escaped;

/// Reloads changed files until the certificates are dropped.
pub(super) async fn watch(certificates: Weak<Shared>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The error that was logged last. As long as it is the same, it is not logged again.
    let mut failed = None;
    loop {
        ticks.tick().await;
        let Some(certificates) = certificates.upgrade() else { return };
        let reload = spawn_blocking(move || certificates.reload_changed_files());
        match reload.await {
            Ok(Ok(0)) => {}
            Ok(Ok(changed)) => tracing::info!(changed, "certificates reloaded"),
            Ok(Err(error)) if failed.as_ref() == Some(&error) => continue,
            Ok(Err(error)) => {
                tracing::warn!(error = %Escaped(&error), "certificates not reloaded");
                failed = Some(error);
                continue;
            }
            // The runtime ends.
            Err(_) => return,
        }
        failed = None;
    }
}
