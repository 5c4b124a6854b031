use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::text::parse;
use crate::{
    alb::config::{Config, Import, Problem, Problems},
    discover::Format,
};

/// The largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// The largest number of files of a directory that are read.
const MAX_FILES: usize = 1_000;
/// The coarsest clock of a common file system, that of FAT.
const MAX_CLOCK_TICK: Duration = Duration::from_secs(2);

/// The files of a configuration at one moment.
#[derive(Hash)]
pub(super) enum Snapshot {
    /// One hand-written file.
    File(Content),
    /// The files of a directory, by name.
    Directory(Vec<Content>),
}

pub(super) struct Content {
    /// Without the directory.
    name: String,
    format: Format,
    text: String,
}

impl Snapshot {
    /// Reads a directory or a file.
    pub(super) fn of(path: &Path) -> Result<Self, Problems> {
        if path.is_dir() { Self::of_directory(path) } else { Self::of_file(path) }
    }

    pub(super) fn of_file(path: &Path) -> Result<Self, Problems> {
        let Some(format) = format_of(path) else {
            let expected = "a file whose extension is that of a known format, such as `toml`";
            return Err(Problem::invalid(path.display().to_string(), expected).into());
        };
        Ok(Self::File(Content::read(path, format)?))
    }

    pub(super) fn of_directory(directory: &Path) -> Result<Self, Problems> {
        let paths = list(directory).map_err(|error| unreadable(directory, &error))?;
        if paths.len() > MAX_FILES {
            let expected = format!("a directory of at most {MAX_FILES} files");
            let problem = Problem::invalid(directory.display().to_string(), expected);
            return Err(problem.with_value(format_args!("{} files", paths.len())).into());
        }
        let (mut contents, mut problems) = (Vec::with_capacity(paths.len()), Vec::new());
        for (path, format) in paths {
            match Content::read(&path, format) {
                Ok(content) => contents.push(content),
                Err(problem) => problems.push(problem),
            }
        }
        Problems::or(problems, Self::Directory(contents))
    }

    /// Returns a hash of the names and the contents.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// Parses the files. Relative paths in them start at their directory, which is `path` or that
    /// of the file `path`.
    pub(super) fn parse(&self, path: &Path) -> Result<Config, Problems> {
        let directory = match self {
            Self::File(_) => path.parent().unwrap_or(path),
            Self::Directory(_) => path,
        };
        let mut config = self.parse_texts()?;
        config.resolve_paths(directory);
        Ok(config)
    }

    fn parse_texts(&self) -> Result<Config, Problems> {
        let contents = match self {
            Self::File(Content { name, format, text }) => {
                return Ok(parse(name, text, *format)?);
            }
            Self::Directory(contents) => contents,
        };
        let mut import = Import::new();
        for Content { name, format, text } in contents {
            import = if is_bindings(Path::new(name)) {
                match parse(name, text, *format) {
                    Ok(bindings) => import.bindings(bindings),
                    Err(problem) => import.reject(problem),
                }
            } else {
                import.file(name, text)
            };
        }
        import.finish()
    }
}

impl Hash for Content {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, &self.text).hash(state);
    }
}

impl Content {
    /// Reads a file up to the limit, because the path may be an endless device.
    fn read(path: &Path, format: Format) -> Result<Self, Problem> {
        let mut text = String::new();
        let read = fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text));
        read.map_err(|error| unreadable(path, &error))?;
        if text.len() as u64 > MAX_FILE_BYTES {
            let expected = format!("a file of at most {MAX_FILE_BYTES} bytes");
            return Err(Problem::invalid(path.display().to_string(), expected));
        }
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, format, text })
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let path = path.display().to_string();
    Problem::invalid(path, format!("a file or directory that can be read: {error}"))
}

/// Returns the files of a directory that are read, by name: JSON, and bindings of any format.
fn list(directory: &Path) -> io::Result<Vec<(PathBuf, Format)>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(format) = format_of(&path).filter(|_| path.is_file()) else { continue };
        if format == Format::Json || is_bindings(&path) {
            paths.push((path, format));
        }
    }
    paths.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(paths)
}

fn format_of(path: &Path) -> Option<Format> {
    Format::of_extension(path.extension()?.to_str()?)
}

fn is_bindings(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "bindings")
}

/// The attributes that distinguish one state of the files from another. Symbolic links are
/// followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Vec<(PathBuf, FileStamp)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    modified: Option<SystemTime>,
    length: u64,
    identity: (u64, u64),
}

impl Stamp {
    /// Reads the attributes. A missing file or directory has none.
    pub(super) fn of(path: &Path) -> Self {
        let paths = if path.is_dir() {
            list(path).unwrap_or_default().into_iter().map(|(path, _)| path).collect()
        } else {
            vec![path.to_owned()]
        };
        let stamp = |path: PathBuf| FileStamp::of(&path).map(|stamp| (path, stamp));
        Self(paths.into_iter().filter_map(stamp).collect())
    }

    /// Returns true if a file may change again with the same stamp, because its last change is less
    /// than one tick of the file system's clock ago.
    pub(super) fn may_be_outdated(&self) -> bool {
        let is_fresh = |modified: SystemTime| {
            // A time in the future tells nothing about the age.
            modified.elapsed().map_or(true, |age| age < MAX_CLOCK_TICK)
        };
        self.0.iter().any(|(_, stamp)| stamp.modified.is_some_and(is_fresh))
    }
}

impl FileStamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        #[cfg(unix)]
        let identity = {
            use std::os::unix::fs::MetadataExt;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let identity = (0, 0);
        let (modified, length) = (metadata.modified().ok(), metadata.len());
        Some(Self { modified, length, identity })
    }
}
