use std::str::FromStr;

use super::{
    document::{Documents, Read, Unnamed},
    import::Findings,
    resource::{Assignment, Resource},
    shapes::Attribute,
};
use crate::alb::config::{
    Algorithm, CrossZoneMode, DesyncMode, ForwardedForMode, HealthThresholds, ListenerAttributes,
    LoadBalancerAttributes, S3Logs, Stickiness, TargetGroupAttributes, Threshold, Time,
};

/// What a list of attributes is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    LoadBalancer,
    Listener,
    TargetGroup,
}

impl Kind {
    /// Returns the command that prints the attributes, without `describe-`.
    fn command(self) -> &'static str {
        match self {
            Self::LoadBalancer => "load-balancer-attributes",
            Self::Listener => "listener-attributes",
            Self::TargetGroup => "target-group-attributes",
        }
    }
}

/// The attributes of the resources of a kind that are imported, each with its path; `None` for the
/// resources of other load balancers.
type Places<'a, T> = Vec<Option<(String, &'a mut T)>>;

/// Calls `set` with each list of attributes and what it is about. Notes what has no list.
fn assign<T>(
    kind: Kind,
    documents: &Documents,
    resources: &[Resource],
    mut places: Places<'_, T>,
    findings: &mut Findings,
    set: impl Fn(&mut T, &Unnamed<Attribute>, &mut Findings),
) {
    let mut assignment = Assignment::new(kind.command(), resources);
    for list in documents.attributes.iter().filter(|list| kind_of(list) == kind) {
        let Some(position) = assignment.resource_of(list, findings) else { continue };
        if let Some((_, attributes)) = &mut places[position] {
            set(attributes, list, findings);
        }
    }
    for (position, place) in places.iter().enumerate() {
        let Some((path, _)) = place.as_ref().filter(|_| !assignment.is_assigned(position)) else {
            continue;
        };
        let command = kind.command();
        let why = format!("there is no output of `describe-{command}`, so that the defaults apply");
        findings.leftovers.ignore(format!("{path}.attributes"), &why);
    }
}

/// The beginnings of attributes that occur for one kind of resource only.
const PREFIXES: [(&str, Kind); 16] = [
    ("idle_timeout.", Kind::LoadBalancer),
    ("access_logs.", Kind::LoadBalancer),
    ("connection_logs.", Kind::LoadBalancer),
    ("client_keep_alive.", Kind::LoadBalancer),
    ("deletion_protection.", Kind::LoadBalancer),
    ("routing.http2.", Kind::LoadBalancer),
    ("waf.", Kind::LoadBalancer),
    ("zonal_shift.", Kind::LoadBalancer),
    ("routing.http.request.", Kind::Listener),
    ("routing.http.response.", Kind::Listener),
    ("tcp.", Kind::Listener),
    ("deregistration_delay.", Kind::TargetGroup),
    ("stickiness.", Kind::TargetGroup),
    ("slow_start.", Kind::TargetGroup),
    ("target_group_health.", Kind::TargetGroup),
    ("lambda.", Kind::TargetGroup),
];

/// Returns the kind by the attributes, or else by the name of the file.
fn kind_of(list: &Unnamed<Attribute>) -> Kind {
    let keys = list.items.iter().filter_map(|item| item.shape.key.as_deref());
    let mut kinds = keys.filter_map(|key| {
        PREFIXES.iter().find(|(prefix, _)| key.starts_with(prefix)).map(|(_, kind)| *kind)
    });
    let by_name = || match &*list.file {
        file if file.contains("listener") => Kind::Listener,
        file if file.contains("target") => Kind::TargetGroup,
        _ => Kind::LoadBalancer,
    };
    kinds.next().unwrap_or_else(by_name)
}

/// What an attribute's value is not.
type Expected = &'static str;

/// Whether an attribute is known, and what was expected if its value is invalid.
enum Outcome {
    Known(Result<(), Expected>),
    Unknown,
}

/// Applies the attributes of a list, and collects those that are unknown or invalid.
fn apply(
    list: &Unnamed<Attribute>,
    findings: &mut Findings,
    mut set: impl FnMut(&str, &str) -> Outcome,
) {
    for item in &list.items {
        findings.leftovers.of(item);
        let (key, value) = key_and_value(item);
        if key == "ipv6.deny_all_igw_traffic" {
            findings.leftovers.ignore(key, "the network belongs to AWS");
            continue;
        }
        let path = format!("{}: {key}", item.file);
        match set(key, value) {
            Outcome::Known(Ok(())) => {}
            Outcome::Known(Err(expected)) => {
                findings.invalid(path, format_args!("{value:?}"), expected)
            }
            Outcome::Unknown => {
                let why = "this library does not know this attribute";
                findings.leftovers.unsupported(path, Some(value.to_owned()), why);
            }
        }
    }
}

fn key_and_value(item: &Read<Attribute>) -> (&str, &str) {
    let Attribute { key, value } = &item.shape;
    (key.as_deref().unwrap_or_default(), value.as_deref().unwrap_or_default())
}

/// Sets the attributes of load balancers.
pub(super) fn of_load_balancers(
    documents: &Documents,
    resources: &[Resource],
    places: Places<'_, LoadBalancerAttributes>,
    findings: &mut Findings,
) {
    assign(
        Kind::LoadBalancer,
        documents,
        resources,
        places,
        findings,
        |attributes, list, findings| {
            let (mut logs, mut enabled) =
                ([S3Logs::default(), S3Logs::default(), S3Logs::default()], [false; 3]);
            apply(list, findings, |key, value| {
                load_balancer(attributes, &mut logs, &mut enabled, key, value)
            });
            let [access, connection, health_check] = logs;
            attributes.access_logs = enabled[0].then_some(access);
            attributes.connection_logs = enabled[1].then_some(connection);
            attributes.health_check_logs = enabled[2].then_some(health_check);
        },
    );
}

fn load_balancer(
    attributes: &mut LoadBalancerAttributes,
    logs: &mut [S3Logs; 3],
    enabled: &mut [bool; 3],
    key: &str,
    value: &str,
) -> Outcome {
    for (index, name) in ["access_logs", "connection_logs", "health_check_logs"].iter().enumerate()
    {
        let setting = key.strip_prefix(name).and_then(|rest| rest.strip_prefix(".s3."));
        return match setting {
            None => continue,
            Some("enabled") => flag(value, &mut enabled[index]),
            Some("bucket") => text(value, &mut logs[index].bucket),
            Some("prefix") => text(value, &mut logs[index].prefix),
            Some(_) => Outcome::Unknown,
        };
    }
    match key {
        "idle_timeout.timeout_seconds" => seconds(value, &mut attributes.idle_timeout),
        "client_keep_alive.seconds" => seconds(value, &mut attributes.client_keep_alive),
        "routing.http.desync_mitigation_mode" => one_of(
            value,
            &mut attributes.desync_mitigation,
            "monitor, defensive or strictest",
            &[
                ("monitor", DesyncMode::Monitor),
                ("defensive", DesyncMode::Defensive),
                ("strictest", DesyncMode::Strictest),
            ],
        ),
        "routing.http.drop_invalid_header_fields.enabled" => {
            flag(value, &mut attributes.drop_invalid_header_fields)
        }
        "routing.http.preserve_host_header.enabled" => {
            flag(value, &mut attributes.preserve_host_header)
        }
        "routing.http.xff_header_processing.mode" => one_of(
            value,
            &mut attributes.x_forwarded_for,
            "append, preserve or remove",
            &[
                ("append", ForwardedForMode::Append),
                ("preserve", ForwardedForMode::Preserve),
                ("remove", ForwardedForMode::Remove),
            ],
        ),
        "routing.http.xff_client_port.enabled" => flag(value, &mut attributes.x_forwarded_for_port),
        "routing.http.x_amzn_tls_version_and_cipher_suite.enabled" => {
            flag(value, &mut attributes.tls_headers)
        }
        "routing.http2.enabled" => flag(value, &mut attributes.http2),
        "load_balancing.cross_zone.enabled" => flag(value, &mut attributes.cross_zone),
        "zonal_shift.config.enabled" => flag(value, &mut attributes.zonal_shift),
        "waf.fail_open.enabled" => flag(value, &mut attributes.waf_fail_open),
        "deletion_protection.enabled" => flag(value, &mut attributes.deletion_protection),
        _ => Outcome::Unknown,
    }
}

/// Sets the attributes of listeners.
pub(super) fn of_listeners(
    documents: &Documents,
    resources: &[Resource],
    places: Places<'_, ListenerAttributes>,
    findings: &mut Findings,
) {
    assign(Kind::Listener, documents, resources, places, findings, |attributes, list, findings| {
        apply(list, findings, |key, value| listener(attributes, key, value));
    });
}

fn listener(attributes: &mut ListenerAttributes, key: &str, value: &str) -> Outcome {
    if key == "routing.http.response.server.enabled" {
        return flag(value, &mut attributes.server_header);
    }
    let part = |start: &str, end: &str| {
        let name = key.strip_prefix(start)?.strip_suffix(end)?;
        Some(name.replace('_', "-"))
    };
    if let Some(name) = part("routing.http.request.", ".header_name") {
        // AWS prints the usual name, too.
        if !value.is_empty() && !value.eq_ignore_ascii_case(&name) {
            attributes.request_headers.insert(name, value.to_owned());
        }
        return Outcome::Known(Ok(()));
    }
    if let Some(name) = part("routing.http.response.", ".header_value") {
        if !value.is_empty() {
            attributes.response_headers.insert(name, value.to_owned());
        }
        return Outcome::Known(Ok(()));
    }
    Outcome::Unknown
}

/// Sets the attributes of target groups.
pub(super) fn of_target_groups(
    documents: &Documents,
    resources: &[Resource],
    places: Places<'_, TargetGroupAttributes>,
    findings: &mut Findings,
) {
    assign(
        Kind::TargetGroup,
        documents,
        resources,
        places,
        findings,
        |attributes, list, findings| {
            let mut sticky = Sticky::default();
            apply(list, findings, |key, value| target_group(attributes, &mut sticky, key, value));
            attributes.stickiness = sticky.finish();
        },
    );
}

/// The attributes of stickiness, which come one by one.
struct Sticky {
    enabled: bool,
    by_app_cookie: bool,
    cookie: String,
    lb_duration: Time,
    app_duration: Time,
}

impl Default for Sticky {
    fn default() -> Self {
        let day = Time::from_secs(86_400);
        Self {
            enabled: false,
            by_app_cookie: false,
            cookie: String::new(),
            lb_duration: day,
            app_duration: day,
        }
    }
}

impl Sticky {
    fn finish(self) -> Option<Stickiness> {
        let Self { enabled, by_app_cookie, cookie, lb_duration, app_duration } = self;
        enabled.then_some(if by_app_cookie {
            Stickiness::AppCookie { cookie, duration: app_duration }
        } else {
            Stickiness::LbCookie { duration: lb_duration }
        })
    }
}

fn target_group(
    attributes: &mut TargetGroupAttributes,
    sticky: &mut Sticky,
    key: &str,
    value: &str,
) -> Outcome {
    match key {
        "deregistration_delay.timeout_seconds" => {
            seconds(value, &mut attributes.deregistration_delay)
        }
        "slow_start.duration_seconds" => seconds(value, &mut attributes.slow_start),
        "load_balancing.algorithm.type" => one_of(
            value,
            &mut attributes.algorithm,
            "round_robin, least_outstanding_requests or weighted_random",
            &[
                ("round_robin", Algorithm::RoundRobin),
                ("least_outstanding_requests", Algorithm::LeastOutstandingRequests),
                ("weighted_random", Algorithm::WeightedRandom),
            ],
        ),
        "load_balancing.algorithm.anomaly_mitigation" => one_of(
            value,
            &mut attributes.anomaly_mitigation,
            "on or off",
            &[("on", true), ("off", false)],
        ),
        "load_balancing.cross_zone.enabled" => one_of(
            value,
            &mut attributes.cross_zone,
            "true, false or use_load_balancer_configuration",
            &[
                ("true", CrossZoneMode::On),
                ("false", CrossZoneMode::Off),
                ("use_load_balancer_configuration", CrossZoneMode::Inherit),
            ],
        ),
        "stickiness.enabled" => flag(value, &mut sticky.enabled),
        "stickiness.type" => one_of(
            value,
            &mut sticky.by_app_cookie,
            "lb_cookie or app_cookie",
            &[("lb_cookie", false), ("app_cookie", true)],
        ),
        "stickiness.lb_cookie.duration_seconds" => seconds(value, &mut sticky.lb_duration),
        "stickiness.app_cookie.duration_seconds" => seconds(value, &mut sticky.app_duration),
        "stickiness.app_cookie.cookie_name" => text(value, &mut sticky.cookie),
        "lambda.multi_value_headers.enabled" => flag(value, &mut attributes.multi_value_headers),
        _ => {
            let Some(rest) = key.strip_prefix("target_group_health.") else {
                return Outcome::Unknown;
            };
            let (which, rest) = rest.split_once(".minimum_healthy_targets.").unwrap_or((rest, ""));
            let thresholds: &mut HealthThresholds = match which {
                "dns_failover" => &mut attributes.dns_failover,
                "unhealthy_state_routing" => &mut attributes.fail_open,
                _ => return Outcome::Unknown,
            };
            match rest {
                "count" => threshold(value, &mut thresholds.count),
                "percentage" => threshold(value, &mut thresholds.percentage),
                _ => Outcome::Unknown,
            }
        }
    }
}

fn set<T>(parsed: Option<T>, place: &mut T, expected: Expected) -> Outcome {
    Outcome::Known(parsed.map(|parsed| *place = parsed).ok_or(expected))
}

fn flag(value: &str, place: &mut bool) -> Outcome {
    set(bool::from_str(value).ok(), place, "true or false")
}

fn text(value: &str, place: &mut String) -> Outcome {
    set(Some(value.to_owned()), place, "a text")
}

fn seconds(value: &str, place: &mut Time) -> Outcome {
    set(value.parse().ok().map(Time::from_secs), place, "a whole number of seconds")
}

fn threshold(value: &str, place: &mut Threshold) -> Outcome {
    set(Threshold::parse(value), place, "off, or a number of at least 1")
}

fn one_of<T: Copy>(
    value: &str,
    place: &mut T,
    expected: Expected,
    values: &[(&str, T)],
) -> Outcome {
    let found = values.iter().find(|(name, _)| *name == value);
    set(found.map(|(_, value)| *value), place, expected)
}
