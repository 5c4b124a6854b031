use std::{
    fmt::Display,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{fs, io::AsyncReadExt, time::sleep};

use crate::{
    BoxError, ConfigError,
    discover::{
        Fetched, Format, Refresh, Schedule, refresh,
        source::{document::parse_listed, validation::LeftOutLog},
    },
    endpoint::Endpoint,
    escape::Escaped,
    sync::{Mutex, lock},
};

/// The largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// The coarsest clock of a common file system, that of FAT.
const MAX_CLOCK_TICK: Duration = Duration::from_secs(2);

/// A source of endpoints from a file that is read again when it changes; see
/// [`parse_document`](crate::discover::parse_document) for
/// its content.
///
/// The file's attributes are checked once a second. This detects every kind of change on every file
/// system: renaming another file over it, writing in place, and replacing a symbolic link in its
/// path, as Kubernetes does for config maps. A file that changed within the last two seconds is
/// read each time, because clocks of file systems are coarse.
///
/// A file that can't be read or parsed, or that is longer than 64 MiB, is an error, which is
/// reported once and changes no endpoint. Reads run on the runtime's threads for blocking work.
///
/// ```no_run
/// use tower_lb::discover::File;
///
/// let endpoints = File::new("/etc/backends/endpoints.toml").watch::<std::net::SocketAddr>()?;
/// # Ok::<_, tower_lb::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct File {
    path: PathBuf,
    format: Option<Format>,
    interval: Duration,
}

impl File {
    /// Creates a source from the path of the file. Its extension determines the format.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), format: None, interval: Duration::from_secs(1) }
    }

    setters! {
        /// Sets the format. By default the extension determines it.
        pub fn format(format: Format) => format = Some(format);
        /// Sets the interval at which the file is checked. Default 1 s.
        pub fn interval(interval: Duration) => interval = interval;
    }

    /// Returns the source. Addresses are parsed as `T`; names are the keys. The file is not read
    /// before the source is polled.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the format is unknown or the interval is 0.
    pub fn watch<T>(self) -> Result<Refresh<String, T>, ConfigError>
    where
        T: FromStr<Err: Display> + Send + 'static,
    {
        let extension = self.path.extension().and_then(|extension| extension.to_str());
        let Some(format) = self.format.or_else(|| Format::of_extension(extension?)) else {
            let path = Escaped(self.path.display());
            let expected = format!("a format, because the extension of {path} is not a known one");
            return Err(ConfigError::new("format", expected));
        };
        let schedule = Schedule::new()
            .interval(self.interval)
            .floor(self.interval)
            .ceiling(self.interval)
            .jitter(0.0)
            .backoff(self.interval, self.interval)
            .timeout(None);
        let name = format!("file {}", self.path.display());
        let watched = Arc::new(Watched {
            source: name.clone(),
            left_out: Mutex::default(),
            path: self.path,
            format,
            interval: self.interval,
            reported: Mutex::default(),
        });
        refresh(name, schedule, move || {
            let watched = Arc::clone(&watched);
            async move { watched.read().await }
        })
    }
}

struct Watched {
    source: String,
    left_out: Mutex<LeftOutLog>,
    path: PathBuf,
    format: Format,
    interval: Duration,
    reported: Mutex<Reported>,
}

/// The state of the file that was last reported to the stream.
#[derive(Clone, Copy, Default)]
struct Reported {
    stamp: Option<Stamp>,
    /// The hash of the content; `None` if the file could not be read.
    content: Option<u64>,
    /// The content was an error.
    invalid: bool,
}

impl Watched {
    /// Returns the file's endpoints. As long as the file is invalid in the same way as before, this
    /// waits, because an error is reported once.
    async fn read<T: FromStr<Err: Display>>(&self) -> Result<Fetched<String, T>, BoxError> {
        loop {
            let reported = *lock(&self.reported);
            // Taken before the content is read: a change in between shows in the next stamp.
            let stamp = Stamp::of(&self.path).await;
            if reported.stamp != Some(stamp) || stamp.may_be_outdated() {
                let content = read(&self.path).await;
                let hash = content.as_ref().ok().map(hash);
                let same = reported.stamp.is_some() && reported.content == hash;
                let invalid = reported.invalid && same;
                *lock(&self.reported) = Reported { stamp: Some(stamp), content: hash, invalid };
                if !same {
                    let parsed = self.parse(content);
                    lock(&self.reported).invalid = parsed.is_err();
                    return Ok(Fetched::new(parsed?));
                }
            }
            if !lock(&self.reported).invalid {
                return Ok(Fetched::unchanged());
            }
            sleep(self.interval).await;
        }
    }

    fn parse<T>(&self, content: io::Result<String>) -> Result<Vec<(String, Endpoint<T>)>, BoxError>
    where
        T: FromStr<Err: Display>,
    {
        let listed = parse_listed(&content?, self.format)?;
        Ok(lock(&self.left_out).keep_usable(&self.source, listed)?)
    }
}

/// Reads a file up to the limit, because the path may be an endless device.
async fn read(path: &Path) -> io::Result<String> {
    let (file, mut content) = (fs::File::open(path).await?, String::new());
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut content).await?;
    if content.len() as u64 > MAX_FILE_BYTES {
        let error = format!("the file is longer than {MAX_FILE_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, error));
    }
    Ok(content)
}

fn hash(content: &String) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

/// The attributes that distinguish one state of a file from another. Symbolic links are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamp {
    Missing,
    Present { modified: Option<SystemTime>, length: u64, identity: (u64, u64) },
}

impl Stamp {
    async fn of(path: &Path) -> Self {
        let Ok(metadata) = fs::metadata(path).await else { return Self::Missing };
        #[cfg(unix)]
        let identity = {
            use std::os::unix::fs::MetadataExt;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let identity = (0, 0);
        let (modified, length) = (metadata.modified().ok(), metadata.len());
        Self::Present { modified, length, identity }
    }

    /// Returns true if the file may change again with the same stamp, because the last change is
    /// less than one tick of the file system's clock ago.
    fn may_be_outdated(self) -> bool {
        let Self::Present { modified: Some(modified), .. } = self else { return false };
        // A time in the future tells nothing about the age.
        modified.elapsed().map_or(true, |age| age < MAX_CLOCK_TICK)
    }
}
