//! Mistakes of users do not compile, and the compiler's message says what to do.
//!
//! Each file in `cases` is one mistake. Its first line is the part of the message that tells the
//! user what to do. The file of the same name with `.stderr` is the whole message.

use std::{env, fs, path::Path, process::Command};

/// The compiler that the messages in `cases` are from, as `rustc --version` begins.
///
/// Others word them differently. For a new one, run `TRYBUILD=overwrite cargo test -p
/// tower-lb-compile-fail`, and read what changed.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn messages_say_what_to_do() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut count = 0;
    for entry in fs::read_dir(cases).unwrap() {
        let case = entry.unwrap().path();
        if case.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let source = fs::read_to_string(&case).unwrap();
        let advice = source.lines().next().and_then(|line| line.strip_prefix("// says: "));
        let advice = advice.unwrap_or_else(|| panic!("{}: no `// says:`", case.display()));
        let message = fs::read_to_string(case.with_extension("stderr")).unwrap();
        assert!(message.contains(advice), "{}: no advice in\n{message}", case.display());
        count += 1;
    }
    assert!(count >= 10, "only {count} cases");
}

#[test]
fn mistakes() {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    if !version.starts_with(COMPILER) {
        eprintln!("skipped: the messages are from {COMPILER}*, and this is {version}");
        return;
    }
    trybuild::TestCases::new().compile_fail("cases/*.rs");
}
