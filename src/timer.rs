//! The timer of a task that drives many flows.

use std::{pin::Pin, task::Context};

use tokio::time::{Instant, Sleep, sleep_until};

/// One timer for all flows. The time that is due moves with each datagram, and the timer does not:
/// it fires too early, and is set again then.
#[derive(Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    is_set: bool,
}

impl Timer {
    /// Returns true if the time has come. Otherwise the task is woken by then.
    pub(crate) fn is_due(&mut self, due: Option<Instant>, cx: &mut Context<'_>) -> bool {
        let Some(due) = due else { return false };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if !self.is_set || due < sleep.deadline() {
            sleep.as_mut().reset(due);
            self.is_set = true;
        }
        let has_fired = sleep.as_mut().poll(cx).is_ready();
        self.is_set = !has_fired;
        has_fired
    }
}
