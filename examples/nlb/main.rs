//! A network load balancer for TCP, TLS and UDP: `cargo run --example nlb -- --target
//! 127.0.0.1:9001`, or with `-- --help`.
//!
//! Read `tcp` or `udp` first: each puts the parts of its kind together. `options` reads the command
//! line, `health` checks the targets of UDP, and `stop` waits for signals.

mod health;
pub(crate) mod options;
mod stop;
mod tcp;
mod udp;

use std::{env, ffi::OsString, io, process::ExitCode};

use tower_lb::BoxError;

use self::options::{Command, Options, Protocol};

#[tokio::main]
async fn main() -> ExitCode {
    nlb(env::args_os().skip(1)).await.into()
}

/// Returns the exit code of the process.
pub(crate) async fn nlb(arguments: impl Iterator<Item = OsString>) -> u8 {
    let options = match options::parse(arguments) {
        Ok(Command::Serve(options)) => *options,
        Ok(Command::Help) => {
            print!("{}", options::USAGE);
            return 0;
        }
        Err(error) => {
            eprintln!("nlb: {error}\ntry --help");
            return 2;
        }
    };
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    match run(options).await {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("nlb: {error}");
            1
        }
    }
}

async fn run(options: Options) -> Result<(), BoxError> {
    match &options.protocol {
        Protocol::Tcp(of_tcp) => tcp::run(&options, of_tcp).await,
        Protocol::Udp(of_udp) => udp::run(&options, of_udp).await,
    }
}
