use std::{
    fmt,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::Stream;
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, Sleep, sleep_until},
};

use super::snapshot::{Snapshot, Stamp};
use crate::{
    ConfigError,
    alb::config::{Check, Checked, Problem, Problems},
};

/// A stream of checked configurations from a file or a directory that is read again when it
/// changes.
///
/// The first item is the present state. After that, the attributes of the files are read once a
/// second, and an item follows when the content has changed: the new configuration, or all problems
/// of it. So a program keeps its configuration until a valid one follows. Content that is the same
/// as before yields nothing, and so do problems that are the same.
///
/// Renaming another file or directory over the path, writing in place, and replacing a symbolic
/// link in the path are all noticed. If several files change, a state between them may be seen:
/// replace a symbolic link to the directory to avoid that. The files that bindings name, such as
/// certificates, are not watched.
///
/// Files are read on the runtime's threads for blocking work, while the stream is polled. Nothing
/// else is spawned. The stream does not end.
///
/// ```no_run
/// use futures::StreamExt;
/// use tower_lb::alb::config::Watch;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_lb::ConfigError> {
/// let mut configs = Watch::builder("/etc/alb.toml").build()?;
/// while let Some(config) = configs.next().await {
///     match config {
///         Ok(config) => println!("{} listeners", config.listeners.len()),
///         Err(problems) => eprintln!("the configuration stays as it is: {problems}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Watch {
    settings: Arc<Settings>,
    /// What was last yielded.
    seen: Seen,
    state: State,
}

/// Configures a [`Watch`].
#[derive(Clone, Debug)]
#[must_use]
pub struct WatchBuilder {
    path: PathBuf,
    interval: Duration,
    check: Check,
}

struct Settings {
    path: PathBuf,
    interval: Duration,
    check: Check,
}

/// What was last yielded.
#[derive(Clone, Default)]
struct Seen {
    stamp: Option<Stamp>,
    /// The hash of the content, or `None` if it could not be read.
    content: Option<u64>,
    problems: Option<Problems>,
}

enum State {
    /// The files are read.
    Reading(JoinHandle<Read>),
    /// The next look is due.
    Due,
    Sleeping(Pin<Box<Sleep>>),
}

/// A look at the files: what is seen now, and the item if it differs.
type Read = (Seen, Option<Result<Checked, Problems>>);

impl Watch {
    /// Creates the settings for a file or a directory, as [`Config::read`] takes it.
    ///
    /// [`Config::read`]: crate::alb::config::Config::read
    pub fn builder(path: impl Into<PathBuf>) -> WatchBuilder {
        let interval = Duration::from_secs(1);
        WatchBuilder { path: path.into(), interval, check: Check::new() }
    }
}

impl WatchBuilder {
    /// Sets the interval at which the files are looked at. Default 1 s.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets what the check accepts. Default: nothing.
    pub fn check(mut self, check: Check) -> Self {
        self.check = check;
        self
    }

    /// Returns the stream. It reads nothing before it is polled.
    ///
    /// # Errors
    ///
    /// If the interval is 0.
    pub fn build(self) -> Result<Watch, ConfigError> {
        let Self { path, interval, check } = self;
        ConfigError::if_zero_time("interval", interval)?;
        let settings = Arc::new(Settings { path, interval, check });
        Ok(Watch { settings, seen: Seen::default(), state: State::Due })
    }
}

impl Stream for Watch {
    type Item = Result<Checked, Problems>;

    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            this.state = match &mut this.state {
                State::Due => {
                    let (settings, seen) = (Arc::clone(&this.settings), this.seen.clone());
                    State::Reading(spawn_blocking(move || read(&settings, seen)))
                }
                State::Reading(handle) => {
                    let read = ready!(Pin::new(handle).poll(cx));
                    let next = Instant::now() + this.settings.interval;
                    this.state = State::Sleeping(Box::pin(sleep_until(next)));
                    // A cancelled read, at the end of the runtime, is followed by another look.
                    let Ok((seen, item)) = read else { continue };
                    this.seen = seen;
                    if item.is_some() {
                        return Poll::Ready(item);
                    }
                    continue;
                }
                State::Sleeping(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    State::Due
                }
            };
        }
    }
}

fn read(settings: &Settings, seen: Seen) -> Read {
    // Taken before the content is read: a change in between shows in the next stamp.
    let stamp = Stamp::of(&settings.path);
    if seen.stamp.as_ref() == Some(&stamp) && !stamp.may_be_outdated() {
        return (seen, None);
    }
    let snapshot = snapshot(&settings.path);
    let content = snapshot.as_ref().ok().map(Snapshot::fingerprint);
    if seen.stamp.is_some() && content.is_some() && seen.content == content {
        return (Seen { stamp: Some(stamp), ..seen }, None);
    }
    let checked = snapshot
        .and_then(|snapshot| snapshot.parse(&settings.path))
        .and_then(|config| settings.check.check(&config));
    let problems = checked.as_ref().err().cloned();
    let is_same = problems.is_some() && problems == seen.problems;
    let seen = Seen { stamp: Some(stamp), content, problems };
    (seen, (!is_same).then_some(checked))
}

fn snapshot(path: &Path) -> Result<Snapshot, Problems> {
    if path.as_os_str().is_empty() {
        return Err(Problem::invalid("path", "the path of a file or a directory").into());
    }
    Snapshot::of(path)
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("path", &self.settings.path)
            .field("interval", &self.settings.interval)
            .finish_non_exhaustive()
    }
}
