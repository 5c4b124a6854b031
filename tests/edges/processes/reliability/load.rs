use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, interval},
};

/// Sends one request; the name of the backend that answered well, `None` if the request failed.
pub(crate) type Ask = Arc<dyn Fn() -> BoxFuture<'static, Option<String>> + Send + Sync>;

/// A steady load: requests begin at their times, whatever became of those before.
pub(crate) struct Load {
    start: Instant,
    sender: JoinHandle<()>,
    answers: mpsc::UnboundedReceiver<Answer>,
}

/// What became of one request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// When it began, from the start of the load.
    pub(crate) at: Duration,
    pub(crate) took: Duration,
    pub(crate) by: Option<String>,
}

impl Load {
    pub(crate) fn start(ask: Ask, per_second: u32) -> Self {
        let start = Instant::now();
        let (answered, answers) = mpsc::unbounded_channel();
        let sender = tokio::spawn(async move {
            let mut turns = interval(Duration::from_secs(1) / per_second);
            loop {
                let begin = turns.tick().await;
                let (asking, answered) = (ask(), answered.clone());
                tokio::spawn(async move {
                    let by = asking.await;
                    let (at, took) = (begin - start, begin.elapsed());
                    let _ = answered.send(Answer { at, took, by });
                });
            }
        });
        Self { start, sender, answers }
    }

    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Waits for what is in flight.
    pub(crate) async fn stop(mut self) -> Vec<Answer> {
        self.sender.abort();
        let mut all = Vec::new();
        while let Some(answer) = self.answers.recv().await {
            all.push(answer);
        }
        all
    }
}
