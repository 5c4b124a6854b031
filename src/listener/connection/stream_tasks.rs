use std::{
    future::Future,
    sync::{Arc, Weak},
};

use hyper::rt::Executor;
use tokio::task::JoinSet;

use crate::sync::{Mutex, lock};

/// The tasks of the requests on one connection of HTTP/2. They end with the connection.
#[derive(Debug, Default)]
pub(super) struct StreamTasks(Arc<Mutex<JoinSet<()>>>);

impl StreamTasks {
    pub(super) fn spawner(&self) -> Spawner {
        Spawner(Arc::downgrade(&self.0))
    }

    /// Frees what finished tasks have left.
    pub(super) fn reap(&self) {
        reap(&mut lock(&self.0));
    }
}

/// Spawns the tasks. The tasks have it too, so it does not keep them.
#[derive(Clone, Debug)]
pub(super) struct Spawner(Weak<Mutex<JoinSet<()>>>);

impl<F> Executor<F> for Spawner
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        // Without the connection there is no client to answer.
        let Some(tasks) = self.0.upgrade() else { return };
        let mut tasks = lock(&tasks);
        reap(&mut tasks);
        tasks.spawn(task);
    }
}

fn reap(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.try_join_next() {
        if ended.is_err_and(|error| error.is_panic()) {
            tracing::error!("the service has panicked: a stream is reset");
        }
    }
}
