//! The command line.

use std::{
    ffi::OsString,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use tower_lb::clb::{ClassicProtocol, HealthTarget};

pub(crate) const USAGE: &str = "\
A Classic Load Balancer: HTTP(S) and TCP/SSL clients in front, the same instances behind.

Usage: clb --listen PROTOCOL:ADDRESS --instance-port PORT --instance IP... [OPTION]...

  --listen PROTOCOL:ADDRESS  listen for http, https, tcp or ssl, such as http:127.0.0.1:8080; repeat
                             it for each listener; port 0 is a free port
  --instance-port [PROTOCOL:]PORT
                             the port of instances of the --listen before it, and their protocol if
                             it is another one, such as 9001 or https:9443
  --instance IP              an instance, such as 127.0.0.2; repeat it for each instance
  --health TARGET            HTTP:80/path, HTTPS:443/path, TCP:80 or SSL:443; default TCP on the
                             first --instance-port
  --health-interval SECONDS  check each instance every SECONDS; default 5 (AWS: 30)
  --health-timeout SECONDS   fail a check that takes longer; default 2 (AWS: 5)
  --healthy-threshold N      consecutive passes until an instance is in service; default 2 (AWS: 10)
  --unhealthy-threshold N    consecutive failures until it is not; default 2
  --cookie-seconds SECONDS   keep a client at an instance for SECONDS by the cookie AWSELB
  --cookie-session           the same until the browser is closed
  --app-cookie NAME          the same while the client has the application's cookie NAME
  --proxy-protocol           send a PROXY header (version 1) to instances of tcp and ssl listeners
  --tls-cert FILE            the certificate chain (PEM) of https and ssl listeners; needs --tls-key
  --tls-key FILE             the certificate's private key (PEM)
  --idle-timeout SECONDS     end connections without a byte for SECONDS; default 60
  --draining SECONDS         let removed instances finish within SECONDS; default off
  --max-requests N           send an instance at most N requests at a time per listener; default 1024
  --surge-queue N            let at most N further requests wait per listener; default 1024
  --drain SECONDS            after SIGTERM or SIGINT, let connections run for at most SECONDS;
                             default 30
  --help                     print this text
";

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Serve(Box<Options>),
    Help,
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) listeners: Vec<Listen>,
    pub(crate) instances: Vec<IpAddr>,
    pub(crate) health: HealthOptions,
    pub(crate) cookies: Option<Cookies>,
    pub(crate) proxy: bool,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) idle_timeout: Duration,
    pub(crate) draining: Option<Duration>,
    pub(crate) max_requests: u32,
    pub(crate) surge_queue: usize,
    pub(crate) drain: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Listen {
    pub(crate) protocol: ClassicProtocol,
    pub(crate) address: SocketAddr,
    pub(crate) instance_protocol: ClassicProtocol,
    pub(crate) instance_port: u16,
}

#[derive(Debug)]
pub(crate) struct HealthOptions {
    /// `None` is TCP on the first instance port.
    pub(crate) target: Option<HealthTarget>,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) healthy_threshold: u32,
    pub(crate) unhealthy_threshold: u32,
}

#[derive(Debug)]
pub(crate) enum Cookies {
    Duration(Duration),
    Browser,
    Application(String),
}

#[derive(Debug)]
pub(crate) struct TlsFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// A listener whose instance port has not been read yet.
type Unfinished = Option<(ClassicProtocol, SocketAddr)>;

/// Reads the arguments after the name of the program. The error is one line for the user.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut arguments = arguments.map(|argument| {
        argument.into_string().map_err(|argument| format!("{argument:?} is not UTF-8"))
    });
    let mut options = Options {
        listeners: Vec::new(),
        instances: Vec::new(),
        health: HealthOptions {
            target: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            healthy_threshold: 2,
            unhealthy_threshold: 2,
        },
        cookies: None,
        proxy: false,
        tls: None,
        idle_timeout: Duration::from_secs(60),
        draining: None,
        max_requests: 1024,
        surge_queue: 1024,
        drain: Duration::from_secs(30),
    };
    let mut unfinished: Unfinished = None;
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
            "--listen" => {
                finished(unfinished)?;
                unfinished = Some(listen(flag, &value()?)?);
            }
            "--instance-port" => {
                let (protocol, address) =
                    unfinished.take().ok_or("--instance-port needs a --listen before it")?;
                let (instance_protocol, instance_port) = instance_port(flag, &value()?, protocol)?;
                let listen = Listen { protocol, address, instance_protocol, instance_port };
                options.listeners.push(listen);
            }
            "--instance" => options.instances.push(read(flag, &value()?, "an IP address")?),
            "--health" => options.health.target = Some(read(flag, &value()?, "a target")?),
            "--health-interval" => options.health.interval = seconds(flag, &value()?)?,
            "--health-timeout" => options.health.timeout = seconds(flag, &value()?)?,
            "--healthy-threshold" => {
                options.health.healthy_threshold = read(flag, &value()?, "a number")?;
            }
            "--unhealthy-threshold" => {
                options.health.unhealthy_threshold = read(flag, &value()?, "a number")?;
            }
            "--cookie-seconds" => {
                options.cookies = Some(Cookies::Duration(seconds(flag, &value()?)?));
            }
            "--cookie-session" => options.cookies = Some(Cookies::Browser),
            "--app-cookie" => options.cookies = Some(Cookies::Application(value()?)),
            "--proxy-protocol" => options.proxy = true,
            "--tls-cert" => cert = Some(PathBuf::from(value()?)),
            "--tls-key" => key = Some(PathBuf::from(value()?)),
            "--idle-timeout" => options.idle_timeout = seconds(flag, &value()?)?,
            "--draining" => options.draining = Some(seconds(flag, &value()?)?),
            "--max-requests" => options.max_requests = read(flag, &value()?, "a number")?,
            "--surge-queue" => options.surge_queue = read(flag, &value()?, "a number")?,
            "--drain" => options.drain = seconds(flag, &value()?)?,
            "--help" | "-h" => return Ok(Command::Help),
            _ => return Err(format!("unknown option {argument:?}")),
        }
        if inline.is_some() {
            return Err(format!("{flag} takes no value"));
        }
    }
    finished(unfinished)?;
    options.tls = match (cert, key) {
        (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
        (None, None) => None,
        _ => return Err("--tls-cert and --tls-key need each other".into()),
    };
    if options.listeners.is_empty() {
        return Err("--listen is needed at least once".into());
    }
    if options.instances.is_empty() {
        return Err("--instance is needed at least once".into());
    }
    Ok(Command::Serve(Box::new(options)))
}

fn finished(unfinished: Unfinished) -> Result<(), String> {
    match unfinished {
        None => Ok(()),
        Some((protocol, address)) => {
            Err(format!("--listen {protocol}:{address} needs an --instance-port after it"))
        }
    }
}

fn listen(flag: &str, value: &str) -> Result<(ClassicProtocol, SocketAddr), String> {
    let expected = "a protocol and an address, such as http:127.0.0.1:8080";
    let (protocol, address) =
        value.split_once(':').ok_or_else(|| format!("{flag} {value:?}: expected {expected}"))?;
    Ok((read(flag, protocol, expected)?, read(flag, address, expected)?))
}

fn instance_port(
    flag: &str,
    value: &str,
    protocol: ClassicProtocol,
) -> Result<(ClassicProtocol, u16), String> {
    let expected = "a port, such as 9001 or https:9443";
    match value.split_once(':') {
        Some((protocol, port)) => {
            Ok((read(flag, protocol, expected)?, read(flag, port, expected)?))
        }
        None => Ok((protocol, read(flag, value, expected)?)),
    }
}

fn read<T: std::str::FromStr>(flag: &str, value: &str, expected: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    value.parse().map_err(|error| format!("{flag} {value:?}: {error}; expected {expected}"))
}

fn seconds(flag: &str, value: &str) -> Result<Duration, String> {
    let seconds = value.parse().ok();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| format!("{flag} {value:?}: expected seconds, such as 30 or 0.5"))
}
