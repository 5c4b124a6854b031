//! A Gateway Load Balancer, its appliances, and both together as a demonstration:
//! `cargo run --example gwlb`, or with `-- --help`.
//!
//! Read `serve` first: it has a gateway and an inspector. `demo` lets a client ask hosts through
//! two inspectors, of which one stops. `internet` has those hosts. `tun` creates a tun device, and
//! `options` reads the command line.

mod demo;
mod internet;
mod options;
mod serve;
mod tun;

use std::{env, ffi::OsString, process::ExitCode};

use self::options::Command;

#[tokio::main]
async fn main() -> ExitCode {
    gwlb(env::args_os().skip(1)).await.into()
}

/// Returns the exit code of the process.
pub(crate) async fn gwlb(arguments: impl Iterator<Item = OsString>) -> u8 {
    let result = match options::parse(arguments) {
        Ok(Command::Demo(options)) => demo::run(options).await,
        Ok(Command::Gateway(options)) => serve::gateway(options).await,
        Ok(Command::Inspect(options)) => serve::inspector(options).await,
        Ok(Command::Help) => {
            print!("{}", options::USAGE);
            return 0;
        }
        Err(error) => {
            eprintln!("gwlb: {error}\ntry --help");
            return 2;
        }
    };
    match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("gwlb: {error}");
            1
        }
    }
}
