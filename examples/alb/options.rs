//! The command line.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use http::{Method, Uri};

pub(crate) const USAGE: &str = "\
An Application Load Balancer: HTTPS in front, rules, target groups and a Lambda function behind.

Usage: alb [OPTION]...

Without --config, it serves a configuration of its own with three targets that it starts itself, and
says what to try.

  --listen ADDRESS      address for HTTPS, such as 127.0.0.1:8443 (the default); port 0 is a free port.
                        Only without --config
  --config PATH         serve this configuration: a file in TOML, YAML or JSON, or a directory with the
                        output of `aws elbv2 describe-*` in JSON and a file `bindings.toml`, which maps
                        ARNs to addresses, certificates and functions. SIGHUP reads it again
  --accept PATH         accept a part of the configuration that is not supported, by the path that the
                        error names, such as 'load_balancer.attributes.access_logs'; repeat it for each
  --explain METHOD URL  print which rule a request would match, rule by rule, and end
  --metrics ADDRESS     serve a page that shows the target groups at / and metrics for Prometheus at
                        /metrics; for operators only: bind it to a private address
  --drain SECONDS       after SIGTERM or SIGINT, let requests run for at most SECONDS; default 30
  --help                print this text
";

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Serve(Options),
    Explain { options: Options, method: Method, url: Uri },
    Help,
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    pub(crate) config: Option<PathBuf>,
    pub(crate) accept: Vec<String>,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) drain: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8443)),
            config: None,
            accept: Vec::new(),
            metrics: None,
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
    let mut explained = None;
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
            "--config" => options.config = Some(value()?.into()),
            "--accept" => options.accept.push(value()?),
            "--explain" => {
                let method = read(flag, &value()?, "a method, such as GET")?;
                let url = read(flag, &value()?, "a URL, such as https://shop.example.com/cart")?;
                explained = Some((method, url));
            }
            "--metrics" => options.metrics = Some(read(flag, &value()?, "an address and a port")?),
            "--drain" => options.drain = seconds(flag, &value()?)?,
            "--help" | "-h" => return Ok(Command::Help),
            _ => return Err(format!("unknown option {argument:?}")),
        }
        if inline.is_some() {
            return Err(format!("{flag} takes no value"));
        }
    }
    Ok(match explained {
        Some((method, url)) => Command::Explain { options, method, url },
        None => Command::Serve(options),
    })
}

fn read<T: FromStr>(flag: &str, value: &str, expected: &str) -> Result<T, String>
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
