use std::{
    fmt::{self, Display},
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{fs, io::AsyncReadExt, time::sleep};

use crate::{
    BoxError,
    discover::{Fetched, Format, InvalidSchedule, Refresh, Schedule, parse_document, refresh},
    endpoint::Endpoint,
    escape::Escaped,
};

/// Endpoints from a file that is read again when it changes; see [`parse_document`] for what is in
/// it.
///
/// The file's attributes are looked at once a second, which works for every way of changing one and
/// on every file system: renaming another over it, writing in place, and swapping a symbolic link
/// on the way to it, as Kubernetes does with config maps. A file that changed within the last two
/// seconds is read each time, because clocks of file systems are coarse. A file that can't be read
/// or parsed, or is longer than 64 MiB, is an error, told once, and changes no endpoint. Reads happen
/// on the runtime's threads for blocking work.
///
/// ```no_run
/// use tower_lb::discover::File;
///
/// let endpoints = File::new("/etc/backends/endpoints.toml").watch::<std::net::SocketAddr>()?;
/// # Ok::<_, tower_lb::discover::FileError>(())
/// ```
#[derive(Clone, Debug)]
pub struct File {
    path: PathBuf,
    format: Option<Format>,
    interval: Duration,
}

impl File {
    /// The file at this path, in the format that its extension says.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), format: None, interval: Duration::from_secs(1) }
    }

    /// The format. Default by the extension.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// How often the file is looked at. Default 1 s.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The source. Addresses are parsed as `T`; names are the keys. Nothing is read before it is
    /// polled.
    ///
    /// # Errors
    ///
    /// [`FileError`] if the format is unknown or the interval 0.
    pub fn watch<T>(self) -> Result<Refresh<String, T>, FileError>
    where
        T: FromStr<Err: Display> + Send + 'static,
    {
        let extension = self.path.extension().and_then(|extension| extension.to_str());
        let format = self.format.or_else(|| Format::of_extension(extension?));
        let Some(format) = format else {
            return Err(FileError::Format(self.path));
        };
        let schedule = Schedule::new()
            .interval(self.interval)
            .floor(self.interval)
            .ceiling(self.interval)
            .jitter(0.0)
            .backoff(self.interval, self.interval)
            .timeout(None);
        let watched = Arc::new(Watched {
            path: self.path,
            format,
            interval: self.interval,
            seen: Mutex::default(),
        });
        let name = format!("file {}", watched.path.display());
        let source = refresh(name, schedule, move || {
            let watched = Arc::clone(&watched);
            async move { watched.read().await }
        });
        source.map_err(FileError::Interval)
    }
}

struct Watched {
    path: PathBuf,
    format: Format,
    interval: Duration,
    seen: Mutex<Seen>,
}

/// What has been told about the file.
#[derive(Clone, Copy, Default)]
struct Seen {
    stamp: Option<Stamp>,
    content: Option<u64>,
    broken: bool,
}

impl Watched {
    /// The file's endpoints. What is broken as before waits until it has changed.
    async fn read<T>(&self) -> Result<Fetched<String, T>, BoxError>
    where
        T: FromStr<Err: Display>,
    {
        loop {
            let seen = *self.lock();
            let stamp = Stamp::of(&self.path).await;
            if seen.stamp != Some(stamp) || stamp.may_be_outdated() {
                let content = read(&self.path).await;
                let hash = content.as_ref().ok().map(hash);
                let told = seen.stamp.is_some() && seen.content == hash;
                let broken = seen.broken && told;
                *self.lock() = Seen { stamp: Some(stamp), content: hash, broken };
                if !told {
                    let parsed = self.parse(content);
                    self.lock().broken = parsed.is_err();
                    return Ok(Fetched::new(parsed?));
                }
            }
            if !self.lock().broken {
                return Ok(Fetched::unchanged());
            }
            sleep(self.interval).await;
        }
    }

    fn parse<T>(&self, content: io::Result<String>) -> Result<Vec<(String, Endpoint<T>)>, BoxError>
    where
        T: FromStr<Err: Display>,
    {
        Ok(parse_document(&content?, self.format)?)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most bytes that are read of a file.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Reads a file, up to the limit: it may be a device without an end.
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

/// What tells one state of a file from another: of the file at the end of all symbolic links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamp {
    Missing,
    Present { modified: Option<SystemTime>, length: u64, identity: (u64, u64) },
}

impl Stamp {
    async fn of(path: &Path) -> Self {
        let Ok(metadata) = fs::metadata(path).await else {
            return Self::Missing;
        };
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

    /// True if the file may change without its stamp changing: within one tick of the file system's
    /// clock. Two seconds are the coarsest that there is.
    fn may_be_outdated(self) -> bool {
        let Self::Present { modified: Some(modified), .. } = self else {
            return false;
        };
        // A time to come says nothing.
        modified.elapsed().map_or(true, |age| age < Duration::from_secs(2))
    }
}

/// A [`File`] that can't be watched.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FileError {
    /// The extension of this path says no format; give it with [`File::format`].
    Format(PathBuf),
    /// The interval is 0.
    Interval(InvalidSchedule),
}

impl Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(path) => {
                let path = Escaped(path.display());
                write!(f, "the extension of {path} says no format that is known; set the format")
            }
            Self::Interval(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for FileError {}
