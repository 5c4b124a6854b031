//! From the signal to stop until the end of the process.

use std::{future::Future, io, pin::pin, time::Duration};

use tokio::signal::unix::{SignalKind, signal};

/// Polls `serve` until SIGTERM or SIGINT. Then tells it to `stop`, so that what is open ends within
/// `limit`, and returns its output; `None` if another signal came first.
pub(crate) async fn drain<T>(
    serve: impl Future<Output = T>,
    stop: impl FnOnce(),
    limit: Duration,
) -> io::Result<Option<T>> {
    let signal = stop_signal()?;
    let mut serve = pin!(serve);
    tokio::select! {
        served = &mut serve => return Ok(Some(served)),
        () = signal => stop(),
    }
    println!("draining for at most {limit:?}");
    let again = stop_signal()?;
    tokio::select! {
        served = serve => Ok(Some(served)),
        () = again => {
            println!("another signal: closing what is left");
            Ok(None)
        }
    }
}

/// Prints how many `what` were still open at the end of the time.
pub(crate) fn print_end(cut_off: u64, what: &str) {
    match cut_off {
        0 => println!("drained"),
        cut_off => println!("the time is over: {cut_off} {what} were cut off"),
    }
}

fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
