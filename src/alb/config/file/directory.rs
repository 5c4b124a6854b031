use std::path::Path;

use super::snapshot::Snapshot;
use crate::alb::config::{Config, Problems};

impl Config {
    /// Reads the output of `aws elbv2 describe-*` from the JSON files of a directory; blocking.
    ///
    /// The content of a file says what it is: its name matters only where the output does not name
    /// its resource; see [`Import`](crate::alb::config::Import). A file `bindings.toml`,
    /// `bindings.json` or `bindings.yaml` has the [`Bindings`](crate::alb::config::Bindings). Files
    /// with other extensions are not read. Relative paths of bindings start at the directory.
    ///
    /// # Errors
    ///
    /// All problems of all files: those that cannot be read or parsed or are incomplete, and what
    /// contradicts another file. [`check`](Config::check) reports what is wrong in the
    /// configuration itself.
    pub fn from_dir(directory: impl AsRef<Path>) -> Result<Self, Problems> {
        let directory = directory.as_ref();
        Snapshot::of_directory(directory)?.parse(directory)
    }

    /// Reads a hand-written file in the format of its extension: `toml`, `json`, or with feature
    /// `yaml` also `yaml` and `yml`; blocking. Relative paths in it start at its directory.
    ///
    /// # Errors
    ///
    /// If the extension is unknown, or the file cannot be read or parsed.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Problems> {
        let path = path.as_ref();
        Snapshot::of_file(path)?.parse(path)
    }

    /// Reads a directory with [`from_dir`](Self::from_dir), and anything else with
    /// [`from_file`](Self::from_file); blocking.
    ///
    /// # Errors
    ///
    /// As these.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Problems> {
        let path = path.as_ref();
        Snapshot::of(path)?.parse(path)
    }
}
