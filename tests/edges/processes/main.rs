//! Real processes: functions, servers that are killed, nginx and HAProxy.

#[cfg(unix)]
mod lambda_ministack;
mod lambda_real;
#[cfg(unix)]
mod reliability;
#[cfg(unix)]
mod sigkill;

/// Returns the path of a test of this program, which starts itself again as a function or as a backend.
fn test_path(module: &str, test: &str) -> String {
    match module.split_once("::") {
        Some((_, module)) => format!("{module}::{test}"),
        None => test.to_owned(),
    }
}
