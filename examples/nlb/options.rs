//! The command line.

use std::{ffi::OsString, mem, net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use tower_lb::{tcp::SendProxy, udp::DatagramCheck};

use super::health::UdpHealth;

pub(crate) const USAGE: &str = "\
A network load balancer: clients of TCP, TLS or UDP in front, targets behind.

Usage: nlb --target ADDRESS... [OPTION]...
       nlb --udp --target ADDRESS... [OPTION]...

  --listen ADDRESS          address to listen on, such as 127.0.0.1:8080 (the default) or [::]:443;
                            port 0 is a free port
  --target ADDRESS          a target, such as 127.0.0.1:9001; repeat it for each target
  --sticky-source           send all connections or flows of a client's address to the same target
  --idle-timeout SECONDS    reset connections, or end flows, without a byte for SECONDS;
                            default 350, with --udp 120
  --health-interval SECONDS check each target every SECONDS; default 10
  --drain SECONDS           after SIGTERM or SIGINT, let connections or flows go on for at most
                            SECONDS; default 30
  --help                    print this text

Only for TCP and TLS:
  --proxy-protocol VERSION  send targets a PROXY header, v1 or v2; default none
  --accept-proxy NETWORK    expect a PROXY header from peers in NETWORK, such as 10.0.0.0/8, and
                            refuse others; repeat it for each network; default none
  --tls-cert FILE           terminate TLS with this certificate chain (PEM); needs --tls-key
  --tls-key FILE            the certificate's private key (PEM)

For UDP:
  --udp                     relay flows of UDP: the datagrams of a client's address and port
  --health CHECK            check targets by a TCP connection to the same port (tcp, the default),
                            by a query for the name NAME (dns:NAME), or not at all (none)
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
    pub(crate) sticky_source: bool,
    pub(crate) idle_timeout: Duration,
    pub(crate) health_interval: Duration,
    pub(crate) drain: Duration,
    pub(crate) protocol: Protocol,
}

/// What is balanced, with the options that only this protocol has.
#[derive(Debug)]
pub(crate) enum Protocol {
    Tcp(TcpOptions),
    Udp(UdpOptions),
}

#[derive(Debug)]
pub(crate) struct TcpOptions {
    pub(crate) proxy_protocol: Option<SendProxy>,
    pub(crate) accept_proxy: Vec<IpNet>,
    pub(crate) tls: Option<TlsFiles>,
}

#[derive(Debug)]
pub(crate) struct UdpOptions {
    pub(crate) health: UdpHealth,
}

#[derive(Debug)]
pub(crate) struct TlsFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// The flags, as they stand on the command line.
#[derive(Default)]
struct Flags {
    listen: Option<SocketAddr>,
    targets: Vec<SocketAddr>,
    proxy_protocol: Option<SendProxy>,
    accept_proxy: Vec<IpNet>,
    sticky_source: bool,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    idle_timeout: Option<Duration>,
    health_interval: Option<Duration>,
    drain: Option<Duration>,
    udp: bool,
    health: Option<UdpHealth>,
}

/// Reads the arguments after the name of the program. The error is one line for the user.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut arguments = arguments.map(|argument| {
        argument.into_string().map_err(|argument| format!("{argument:?} is not UTF-8"))
    });
    let mut flags = Flags::default();
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
            "--listen" => flags.listen = Some(read(flag, &value()?, "an address and a port")?),
            "--target" => flags.targets.push(read(flag, &value()?, "an address and a port")?),
            "--proxy-protocol" => flags.proxy_protocol = Some(version(flag, &value()?)?),
            "--accept-proxy" => flags.accept_proxy.push(read(flag, &value()?, "a network")?),
            "--sticky-source" => flags.sticky_source = true,
            "--tls-cert" => flags.tls_cert = Some(PathBuf::from(value()?)),
            "--tls-key" => flags.tls_key = Some(PathBuf::from(value()?)),
            "--idle-timeout" => flags.idle_timeout = Some(seconds(flag, &value()?)?),
            "--health-interval" => flags.health_interval = Some(seconds(flag, &value()?)?),
            "--drain" => flags.drain = Some(seconds(flag, &value()?)?),
            "--udp" => flags.udp = true,
            "--health" => flags.health = Some(health(flag, &value()?)?),
            "--help" | "-h" => return Ok(Command::Help),
            _ => return Err(format!("unknown option {argument:?}")),
        }
        if inline.is_some() {
            return Err(format!("{flag} takes no value"));
        }
    }
    flags.options().map(|options| Command::Serve(Box::new(options)))
}

impl Flags {
    /// Checks the flags together, and adds the defaults.
    fn options(mut self) -> Result<Options, String> {
        let targets = mem::take(&mut self.targets);
        let default_idle = Duration::from_secs(if self.udp { 120 } else { 350 });
        let options = Options {
            listen: self.listen.unwrap_or_else(|| ([127, 0, 0, 1], 8080).into()),
            sticky_source: self.sticky_source,
            idle_timeout: self.idle_timeout.unwrap_or(default_idle),
            health_interval: self.health_interval.unwrap_or(Duration::from_secs(10)),
            drain: self.drain.unwrap_or(Duration::from_secs(30)),
            targets,
            protocol: if self.udp { self.udp()? } else { self.tcp()? },
        };
        if options.targets.is_empty() {
            return Err("--target is needed at least once".into());
        }
        Ok(options)
    }

    fn tcp(self) -> Result<Protocol, String> {
        if self.health.is_some() {
            return Err("--health needs --udp: targets of TCP are checked by a connection".into());
        }
        let tls = match (self.tls_cert, self.tls_key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            _ => return Err("--tls-cert and --tls-key need each other".into()),
        };
        let Self { proxy_protocol, accept_proxy, .. } = self;
        Ok(Protocol::Tcp(TcpOptions { proxy_protocol, accept_proxy, tls }))
    }

    fn udp(self) -> Result<Protocol, String> {
        for (is_set, flag, reason) in [
            (self.proxy_protocol.is_some(), "--proxy-protocol", "datagrams get no PROXY header"),
            (!self.accept_proxy.is_empty(), "--accept-proxy", "datagrams have no PROXY header"),
            (self.tls_cert.is_some(), "--tls-cert", "TLS needs connections"),
            (self.tls_key.is_some(), "--tls-key", "TLS needs connections"),
        ] {
            if is_set {
                return Err(format!("{flag} is not possible with --udp: {reason}"));
            }
        }
        Ok(Protocol::Udp(UdpOptions { health: self.health.unwrap_or(UdpHealth::Tcp) }))
    }
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

fn health(flag: &str, value: &str) -> Result<UdpHealth, String> {
    match (value, value.split_once(':')) {
        ("tcp", _) => Ok(UdpHealth::Tcp),
        ("none", _) => Ok(UdpHealth::None),
        (_, Some(("dns", name))) => match DatagramCheck::dns(name) {
            Ok(query) => Ok(UdpHealth::Dns(query)),
            Err(error) => Err(format!("{flag} {value:?}: {error}")),
        },
        _ => Err(format!("{flag} {value:?}: expected tcp, dns:NAME or none")),
    }
}

fn seconds(flag: &str, value: &str) -> Result<Duration, String> {
    let seconds = value.parse().ok();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| format!("{flag} {value:?}: expected seconds, such as 30 or 0.5"))
}
