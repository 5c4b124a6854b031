//! The command line.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use http::Uri;
use tower_lb::http::Origin;

pub(crate) const USAGE: &str = "\
A reverse proxy: HTTP/1.1 and HTTP/2 clients in front, HTTP backends behind.

Usage: gateway [OPTION]...

Without --upstream, it starts three backends of its own, so that there is something to try.

  --listen ADDRESS     address to listen on, such as 127.0.0.1:8080 (the default) or [::]:80;
                       port 0 is a free port
  --upstream ORIGIN    a backend, such as http://127.0.0.1:9001; repeat it for each backend
                       https:// trusts what the platform trusts, or the certificates in the file
                       that SSL_CERT_FILE names
  --upstream-http2     backends speak HTTP/2 (without TLS: by prior knowledge); default HTTP/1.1
  --health-path PATH   check backends by GET requests to PATH; default: no checks
  --tls-cert FILE      serve TLS with this certificate chain (PEM); needs --tls-key
  --tls-key FILE       the certificate's private key (PEM)
  --sticky COOKIE      keep the sessions of browsers at their backends by a cookie of this name
  --no-retries         send each request to one backend only
  --metrics ADDRESS    serve a page that shows the backends at / and metrics for Prometheus at
                       /metrics; for operators only: bind it to a private address
  --timeout SECONDS    wait for the head of a response for at most SECONDS, and answer 504 after
                       that; the time of the upload is part of it; default 300
  --drain SECONDS      after SIGTERM or SIGINT, let requests run for at most SECONDS; default 30
  --help               print this text
";

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Serve(Box<Options>),
    Help,
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    pub(crate) upstreams: Vec<Origin>,
    pub(crate) upstream_http2: bool,
    pub(crate) health_path: Option<String>,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) sticky: Option<String>,
    pub(crate) retries: bool,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) timeout: Duration,
    pub(crate) drain: Duration,
}

#[derive(Debug)]
pub(crate) struct TlsFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            upstreams: Vec::new(),
            upstream_http2: false,
            health_path: None,
            tls: None,
            sticky: None,
            retries: true,
            metrics: None,
            timeout: Duration::from_secs(300),
            drain: Duration::from_secs(30),
        }
    }
}

/// Reads the arguments after the name of the program. The error is one line for the user.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut arguments = arguments.map(|argument| {
        argument.into_string().map_err(|argument| format!("{argument:?} is not UTF-8"))
    });
    let mut options = Options::default();
    let (mut cert, mut key) = (None, None);
    while let Some(argument) = arguments.next().transpose()? {
        // Both `--listen ADDRESS` and `--listen=ADDRESS`.
        let (flag, mut inline) = match argument.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        let mut value = || match inline.take() {
            Some(value) => Ok(value),
            None => arguments.next().unwrap_or_else(|| Err(format!("{flag} needs a value"))),
        };
        match flag {
            "--listen" => options.listen = read(flag, &value()?, "an address and a port")?,
            "--upstream" => options.upstreams.push(upstream(flag, &value()?)?),
            "--upstream-http2" => options.upstream_http2 = true,
            "--health-path" => options.health_path = Some(path(flag, &value()?)?),
            "--tls-cert" => cert = Some(PathBuf::from(value()?)),
            "--tls-key" => key = Some(PathBuf::from(value()?)),
            "--sticky" => options.sticky = Some(value()?),
            "--no-retries" => options.retries = false,
            "--metrics" => options.metrics = Some(read(flag, &value()?, "an address and a port")?),
            "--timeout" => options.timeout = above_zero(flag, &value()?)?,
            "--drain" => options.drain = seconds(flag, &value()?)?,
            "--help" | "-h" => return Ok(Command::Help),
            _ => return Err(format!("unknown option {argument:?}")),
        }
        if inline.is_some() {
            return Err(format!("{flag} takes no value"));
        }
    }
    options.tls = match (cert, key) {
        (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
        (None, None) => None,
        _ => return Err("--tls-cert and --tls-key need each other".into()),
    };
    Ok(Command::Serve(Box::new(options)))
}

fn read<T: std::str::FromStr>(flag: &str, value: &str, expected: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    value.parse().map_err(|error| format!("{flag} {value:?}: {error}; expected {expected}"))
}

fn upstream(flag: &str, value: &str) -> Result<Origin, String> {
    read(flag, value, "http://HOST:PORT")
}

fn path(flag: &str, value: &str) -> Result<String, String> {
    match value.parse::<Uri>() {
        Ok(_) if value.starts_with('/') => Ok(value.to_owned()),
        _ => Err(format!("{flag} {value:?}: expected a path, such as /healthz")),
    }
}

fn above_zero(flag: &str, value: &str) -> Result<Duration, String> {
    let time = seconds(flag, value)?;
    if time.is_zero() {
        Err(format!("{flag} {value:?}: expected a time above 0"))
    } else {
        Ok(time)
    }
}

fn seconds(flag: &str, value: &str) -> Result<Duration, String> {
    let seconds = value.parse().ok();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| format!("{flag} {value:?}: expected seconds, such as 30 or 0.5"))
}
