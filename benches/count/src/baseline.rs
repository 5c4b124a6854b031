//! The counts that `--check` compares with, in a file under version control.

use std::{fmt, fs, path::PathBuf, process::Command};

/// How much a row may grow, in percent. Rows vary by less than 1 % from run to run.
const MAX_GROWTH_PERCENT: u64 = 3;
/// A row may always grow by this many instructions, which are 3 % of no row.
const MAX_GROWTH: u64 = 2;

/// Counts by the name of their case, and the compiler that they were counted with.
pub struct Baseline {
    compiler: String,
    counts: Vec<(String, u64)>,
}

impl Baseline {
    pub fn new(counts: impl Iterator<Item = (&'static str, u64)>) -> Self {
        let counts = counts.map(|(name, count)| (name.to_owned(), count)).collect();
        Self { compiler: this_compiler(), counts }
    }

    /// Reads the file; an absent one is an empty baseline.
    pub fn read() -> Self {
        let text = fs::read_to_string(path()).unwrap_or_default();
        let mut lines = text.lines();
        let compiler = lines.next().unwrap_or_default().to_owned();
        let counts = lines.filter_map(|line| {
            let (count, name) = line.trim_start().split_once(' ')?;
            Some((name.to_owned(), count.parse().ok()?))
        });
        Self { compiler, counts: counts.collect() }
    }

    pub fn write(&self) {
        let rows = self.counts.iter().map(|(name, count)| format!("{count:6} {name}\n"));
        let text = format!("{}\n{}", self.compiler, rows.collect::<String>());
        fs::write(path(), text).expect("the baseline can be written");
    }

    pub fn of(&self, name: &str) -> Option<u64> {
        self.counts.iter().find(|(known, _)| known == name).map(|&(_, count)| count)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.counts.iter().map(|(name, _)| name.as_str())
    }

    pub fn compiler(&self) -> &str {
        &self.compiler
    }

    pub fn is_of_this_compiler(&self) -> bool {
        self.compiler == this_compiler()
    }
}

/// How a count compares with the baseline.
pub enum Verdict {
    New,
    Same,
    Less(u64),
    More(u64),
}

pub fn verdict(now: u64, before: Option<u64>) -> Verdict {
    let Some(before) = before else { return Verdict::New };
    let tolerance = (before * MAX_GROWTH_PERCENT / 100).max(MAX_GROWTH);
    match now {
        _ if now > before + tolerance => Verdict::More(before),
        _ if now + tolerance < before => Verdict::Less(before),
        _ => Verdict::Same,
    }
}

impl Verdict {
    /// Returns true if the check fails. A row that has shrunk passes: it asks for a new baseline.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::New | Self::More(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("NOT in the baseline; run with --write"),
            Self::Same => f.write_str("as before"),
            Self::Less(before) => write!(f, "fewer than {before}; run with --write"),
            Self::More(before) => write!(f, "MORE than {before}"),
        }
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("baseline.txt")
}

/// Returns the compiler of this directory, which is the one that has built this program.
fn this_compiler() -> String {
    let output = Command::new("rustc").arg("--version").output().expect("rustc starts");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
