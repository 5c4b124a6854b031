//! The command line.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use tower_lb::tcp::SendProxy;

pub(crate) const USAGE: &str = "\
A network load balancer: TCP and TLS clients in front, TCP targets behind.

Usage: nlb --target ADDRESS... [OPTION]...

  --listen ADDRESS          address to listen on, such as 127.0.0.1:8080 (the default) or [::]:443;
                            port 0 is a free port
  --target ADDRESS          a target, such as 127.0.0.1:9001; repeat it for each target
  --proxy-protocol VERSION  send targets a PROXY header, v1 or v2; default none
  --accept-proxy NETWORK    expect a PROXY header from peers in NETWORK, such as 10.0.0.0/8, and
                            refuse others; repeat it for each network; default none
  --sticky-source           send all connections of a client's address to the same target
  --tls-cert FILE           terminate TLS with this certificate chain (PEM); needs --tls-key
  --tls-key FILE            the certificate's private key (PEM)
  --idle-timeout SECONDS    reset connections without a byte for SECONDS; default 350
  --health-interval SECONDS check each target every SECONDS; default 10
  --drain SECONDS           after SIGTERM or SIGINT, let connections run for at most SECONDS;
                            default 30
  --help                    print this text
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
    pub(crate) targets: Vec<SocketAddr>,
    pub(crate) proxy_protocol: Option<SendProxy>,
    pub(crate) accept_proxy: Vec<IpNet>,
    pub(crate) sticky_source: bool,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) idle_timeout: Duration,
    pub(crate) health_interval: Duration,
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
            targets: Vec::new(),
            proxy_protocol: None,
            accept_proxy: Vec::new(),
            sticky_source: false,
            tls: None,
            idle_timeout: Duration::from_secs(350),
            health_interval: Duration::from_secs(10),
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
            "--target" => options.targets.push(read(flag, &value()?, "an address and a port")?),
            "--proxy-protocol" => options.proxy_protocol = Some(version(flag, &value()?)?),
            "--accept-proxy" => options.accept_proxy.push(read(flag, &value()?, "a network")?),
            "--sticky-source" => options.sticky_source = true,
            "--tls-cert" => cert = Some(PathBuf::from(value()?)),
            "--tls-key" => key = Some(PathBuf::from(value()?)),
            "--idle-timeout" => options.idle_timeout = seconds(flag, &value()?)?,
            "--health-interval" => options.health_interval = seconds(flag, &value()?)?,
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
    if options.targets.is_empty() {
        return Err("--target is needed at least once".into());
    }
    Ok(Command::Serve(Box::new(options)))
}

fn read<T: std::str::FromStr>(flag: &str, value: &str, expected: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    value.parse().map_err(|error| format!("{flag} {value:?}: {error}; expected {expected}"))
}

fn version(flag: &str, value: &str) -> Result<SendProxy, String> {
    match value {
        "v1" => Ok(SendProxy::v1()),
        "v2" => Ok(SendProxy::v2()),
        _ => Err(format!("{flag} {value:?}: expected v1 or v2")),
    }
}

fn seconds(flag: &str, value: &str) -> Result<Duration, String> {
    let seconds = value.parse().ok();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| format!("{flag} {value:?}: expected seconds, such as 30 or 0.5"))
}
