//! The command line.

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use tower_lb::geneve::PORT;

pub(crate) const USAGE: &str = "\
A Gateway Load Balancer: packets go through appliances, such as firewalls, in GENEVE over UDP.

Usage: gwlb [--drop HOST] [--in-memory]              a demonstration, which ends by itself
       gwlb --tun NAME --appliance ADDRESS [OPTION]...   a gateway
       gwlb --inspect ADDRESS [--drop HOST] [OPTION]...  an appliance

The demonstration uses a tun device if it may create one, and packets in memory otherwise.
Gateways and appliances run until SIGTERM or SIGINT.

  --drop HOST            the address whose packets the inspectors drop;
                         default 198.18.0.66 in the demonstration, otherwise none
  --in-memory            create no tun device
  --tun NAME             create the tun device NAME, to which the kernel routes packets;
                         needs CAP_NET_ADMIN
  --listen ADDRESS       the gateway's address and port; default 0.0.0.0:6081
  --appliance ADDRESS    an appliance, such as 10.0.1.5:6081; repeat it for each appliance
  --inspect ADDRESS      the appliance's address and port, such as 0.0.0.0:6081
  --check-port PORT      check appliances by connecting to this port; an appliance listens on it
  --check-interval SECS  the time between two checks; default 10
  --rebalance            let the flows of a failed appliance go to another one
  --reset                reset TCP connections that are idle or whose appliance has failed
  --help                 print this text
";

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Demo(Demo),
    Gateway(Gateway),
    Inspect(Inspect),
    Help,
}

#[derive(Debug)]
pub(crate) struct Demo {
    pub(crate) drop: IpAddr,
    pub(crate) in_memory: bool,
}

#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) tun: String,
    pub(crate) listen: SocketAddr,
    pub(crate) appliances: Vec<SocketAddr>,
    pub(crate) check: Option<CheckOptions>,
    pub(crate) rebalance: bool,
    pub(crate) reset: bool,
}

#[derive(Debug)]
pub(crate) struct CheckOptions {
    pub(crate) port: u16,
    pub(crate) interval: Duration,
}

#[derive(Debug)]
pub(crate) struct Inspect {
    pub(crate) listen: SocketAddr,
    pub(crate) drop: Option<IpAddr>,
    pub(crate) check_port: Option<u16>,
}

/// The host that the demonstration's inspectors drop.
const DROPPED: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 66));

/// Reads the arguments after the name of the program. The error is one line for the user.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut arguments = arguments.map(|argument| {
        argument.into_string().map_err(|argument| format!("{argument:?} is not UTF-8"))
    });
    let (mut tun, mut inspect, mut drop, mut check_port) = (None, None, None, None);
    let mut listen = SocketAddr::from(([0, 0, 0, 0], PORT));
    let mut interval = Duration::from_secs(10);
    let mut appliances = Vec::new();
    let (mut in_memory, mut rebalance, mut reset) = (false, false, false);
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
        const ADDRESS: &str = "an address and a port";
        match flag {
            "--tun" => tun = Some(value()?),
            "--listen" => listen = read(flag, &value()?, ADDRESS)?,
            "--appliance" => appliances.push(read(flag, &value()?, ADDRESS)?),
            "--inspect" => inspect = Some(read(flag, &value()?, ADDRESS)?),
            "--drop" => drop = Some(read(flag, &value()?, "an IP address")?),
            "--check-port" => check_port = Some(read(flag, &value()?, "a port")?),
            "--check-interval" => interval = seconds(flag, &value()?)?,
            "--in-memory" => in_memory = true,
            "--rebalance" => rebalance = true,
            "--reset" => reset = true,
            "--help" | "-h" => return Ok(Command::Help),
            _ => return Err(format!("unknown option {argument:?}")),
        }
        if inline.is_some() {
            return Err(format!("{flag} takes no value"));
        }
    }
    match (inspect, tun) {
        (Some(_), Some(_)) => Err("--inspect and --tun exclude each other".into()),
        (Some(listen), None) => Ok(Command::Inspect(Inspect { listen, drop, check_port })),
        (None, Some(tun)) => {
            if appliances.is_empty() {
                return Err("--tun needs --appliance".into());
            }
            let check = check_port.map(|port| CheckOptions { port, interval });
            Ok(Command::Gateway(Gateway { tun, listen, appliances, check, rebalance, reset }))
        }
        (None, None) if !appliances.is_empty() => Err("--appliance needs --tun".into()),
        (None, None) => Ok(Command::Demo(Demo { drop: drop.unwrap_or(DROPPED), in_memory })),
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
    duration.ok_or_else(|| format!("{flag} {value:?}: expected seconds, such as 10 or 0.5"))
}
