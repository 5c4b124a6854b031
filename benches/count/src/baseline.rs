//! The counts that `--check` compares with, in a file under version control.

use std::{fmt, fs, path::PathBuf, process::Command};

/// How much a row may grow, in percent. Rows vary by less than 1 % from run to run.
const MAX_GROWTH_PERCENT: u64 = 3;
/// A row may always grow by this many instructions, which are 3 % of no row.
const MAX_GROWTH: u64 = 2;

/// Counts by the name of their case, and what they were counted with.
pub struct Baseline {
    tools: String,
    counts: Vec<(String, u64)>,
}

impl Baseline {
    pub fn new(counts: impl Iterator<Item = (&'static str, u64)>) -> Self {
        let counts = counts.map(|(name, count)| (name.to_owned(), count)).collect();
        Self { tools: tools(), counts }
    }

    /// Reads the file; an absent one is an empty baseline.
    pub fn read() -> Self {
        let text = fs::read_to_string(path()).unwrap_or_default();
        let mut lines = text.lines();
        let tools = lines.next().unwrap_or_default().to_owned();
        let counts = lines.filter_map(|line| {
            let (count, name) = line.trim_start().split_once(' ')?;
            Some((name.to_owned(), count.parse().ok()?))
        });
        Self { tools, counts: counts.collect() }
    }

    pub fn write(&self) {
        let rows = self.counts.iter().map(|(name, count)| format!("{count:6} {name}\n"));
        let text = format!("{}\n{}", self.tools, rows.collect::<String>());
        fs::write(path(), text).expect("the baseline can be written");
    }

    pub fn of(&self, name: &str) -> Option<u64> {
        self.counts.iter().find(|(known, _)| known == name).map(|&(_, count)| count)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.counts.iter().map(|(name, _)| name.as_str())
    }

    pub fn tools(&self) -> &str {
        &self.tools
    }

    /// Returns true if the counts can be compared with those of this machine.
    pub fn is_of_these_tools(&self) -> bool {
        self.tools == tools()
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

/// Returns what counts depend on besides the code: the compiler, valgrind, and the kind of
/// processor, by which the C library selects its functions.
fn tools() -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processors.lines().find_map(|line| line.strip_prefix("model name"));
    let processor = processor.unwrap_or("unknown").trim_start_matches([' ', '\t', ':']);
    format!("{}, {}, {processor}", version("rustc"), version("valgrind"))
}

fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output.map_or_else(|_| "absent".into(), |output| output.stdout);
    String::from_utf8_lossy(&text).trim().to_owned()
}
