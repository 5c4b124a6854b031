//! The output of `aws elbv2 describe-*` becomes a configuration.
//!
//! `data/ministack` is what the AWS command line printed about a load balancer in MiniStack 1.5.33,
//! except for the file whose name says that it was written by hand: MiniStack stores no weighted
//! target groups, query strings and regular expressions of rules, and no tables of the actions
//! `authenticate-cognito` and `jwt-validation`. The other documents follow the service model.

use std::{fs, path::PathBuf};

use tower_lb::alb::config::{
    Action, Algorithm, Authenticate, Bindings, Certificate, CertificateBinding, Check, Condition,
    Config, Import, LeftoverKind, ListenerProtocol, MutualTls, Patterns, ProblemKind, Stickiness,
    TargetKind, TargetProtocol, TargetVersion, Time, Unauthenticated,
};

pub(crate) fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("alb/data").join(name)
}

fn ministack() -> Config {
    Config::from_dir(data("ministack")).unwrap()
}

#[test]
fn a_load_balancer_of_ministack() {
    let config = ministack();
    assert_eq!(config.load_balancer.name, "shop");
    let attributes = &config.load_balancer.attributes;
    assert_eq!(attributes.idle_timeout, Time::from_secs(120));
    assert!(attributes.drop_invalid_header_fields && attributes.x_forwarded_for_port);

    let ports: Vec<_> = config.listeners.iter().map(|it| (it.port, it.protocol)).collect();
    assert_eq!(ports, [(80, ListenerProtocol::Http), (443, ListenerProtocol::Https)]);
    let Action::Redirect(redirect) = &config.listeners[0].default_action else { panic!() };
    assert_eq!((redirect.protocol.as_deref(), redirect.status), (Some("https"), 301));

    let listener = &config.listeners[1];
    assert_eq!(listener.default_action, Action::forward("web"));
    let policy = listener.security_policy.as_deref();
    assert_eq!(policy, Some("ELBSecurityPolicy-TLS13-1-2-Res-2021-06"));
    assert_eq!(listener.certificates.len(), 1);
    let priorities: Vec<_> = listener.rules_by_priority().iter().map(|(it, _)| *it).collect();
    assert_eq!(priorities, (1..=13).map(|it| it * 10).collect::<Vec<_>>());
}

#[test]
fn rules_of_every_kind() {
    let config = ministack();
    let rules = config.listeners[1].rules_by_priority();
    let rule = |priority: u32| rules.iter().find(|(it, _)| *it == priority).unwrap().1;
    assert_eq!(
        rule(10).conditions,
        [
            Condition::Host(Patterns::values(["api.example.com", "*.api.example.com"])),
            Condition::Path(Patterns::values(["/v1/*"])),
        ]
    );
    let Action::Forward(forward) = &rule(10).action else { panic!() };
    let weights: Vec<_> = forward.groups.iter().map(|it| (&*it.group, it.weight)).collect();
    assert_eq!(weights, [("web", 90), ("web-v2", 10)]);
    assert_eq!(forward.stickiness, Some(Time::from_secs(600)));
    let kinds =
        |priority: u32| rule(priority).conditions.iter().map(Condition::kind).collect::<Vec<_>>();
    assert_eq!(kinds(20), ["header", "header"]);
    assert_eq!(kinds(30), ["query", "method"]);
    assert_eq!(kinds(40), ["source_ip"]);
    // AWS prints the value of this condition at two places.
    assert_eq!(rule(50).conditions, [Condition::Path(Patterns::values(["/checkout"]))]);
    let Action::FixedResponse(response) = &rule(70).action else { panic!() };
    assert_eq!((response.status, response.body.as_deref()), (418, Some("short and stout")));
    let Some(Authenticate::Oidc(oidc)) = &rule(80).authenticate else { panic!() };
    assert_eq!((&*oidc.client_id, &*oidc.session.scope), ("shop", "openid email"));
    assert_eq!(oidc.session.unauthenticated, Unauthenticated::Deny);
    assert!(matches!(rule(90).authenticate, Some(Authenticate::Cognito(_))));
    let url = rule(100).transforms.url.as_ref().unwrap();
    assert_eq!((&*url.regex, &*url.replace), ("^/rewrite/(.*)$", "/$1"));
    assert!(rule(100).transforms.host.is_some());
    assert_eq!(rule(110).conditions, [Condition::Path(Patterns::regex(["^/item/[0-9]+$"]))]);
    let Some(Authenticate::Jwt(jwt)) = &rule(120).authenticate else { panic!() };
    assert_eq!((&*jwt.claims[0].name, &*jwt.claims[0].values[0]), ("scope", "orders"));
}

#[test]
fn target_groups_of_every_kind() {
    let config = ministack();
    let group = |name: &str| config.target_group(name).unwrap();
    let web = group("web");
    assert_eq!((web.kind, web.targets.len()), (TargetKind::Ip, 2));
    assert_eq!(web.targets[0].name(), "10.0.1.10:8080");
    let check = &web.health_check;
    assert_eq!(check.path.as_deref(), Some("/health"));
    assert_eq!(check.interval, Some(Time::from_secs(10)));
    assert_eq!(check.matcher.as_deref(), Some("200-299"));
    let duration = Time::from_secs(3600);
    assert_eq!(web.attributes.stickiness, Some(Stickiness::LbCookie { duration }));
    assert_eq!(web.attributes.slow_start, Time::from_secs(60));
    assert_eq!(group("web-v2").attributes.algorithm, Algorithm::WeightedRandom);
    assert!(group("web-v2").attributes.anomaly_mitigation);
    assert_eq!(group("instances").targets[0].id, "i-0123456789abcdef0");
    assert_eq!(group("checkout").kind, TargetKind::Lambda);
    assert!(group("checkout").attributes.multi_value_headers);
    // Groups are found by their ARNs, too.
    assert_eq!(config.target_group(web.arn.as_ref().unwrap()).unwrap().name, "web");
}

/// MiniStack prints no protocol version.
#[test]
fn a_group_for_grpc() {
    let group = r#"{"TargetGroups": [{
        "TargetGroupArn": "x:targetgroup/g/1", "TargetGroupName": "g", "TargetType": "ip", "Port": 50051,
        "Protocol": "HTTPS", "ProtocolVersion": "GRPC", "TargetControlPort": 3000,
        "HealthCheckProtocol": "HTTP", "HealthCheckPort": "9000", "HealthCheckEnabled": true,
        "Matcher": {"GrpcCode": "0-5"}
    }]}"#;
    let config = import(&[("lb.json", LOAD_BALANCER), ("g.json", group)]).unwrap();
    let group = &config.target_groups[0];
    assert_eq!((group.version, group.protocol), (TargetVersion::Grpc, TargetProtocol::Https));
    assert_eq!((group.port, group.control_port), (Some(50051), Some(3000)));
    let check = &group.health_check;
    assert_eq!((check.protocol, check.port), (Some(TargetProtocol::Http), Some(9000)));
    assert_eq!(check.matcher.as_deref(), Some("0-5"));
    let draining = r#"{"TargetHealthDescriptions": [
        {"Target": {"Id": "10.0.0.1"}, "TargetHealth": {"State": "draining"}},
        {"Target": {"Id": "10.0.0.2", "AvailabilityZone": "all"}, "TargetHealth": {"State": "unused"}}
    ]}"#;
    let group = r#"{"TargetGroups": [{"TargetGroupArn": "x:targetgroup/g/1", "TargetGroupName": "g",
        "TargetType": "ip", "Port": 80}]}"#;
    let files = [("lb.json", LOAD_BALANCER), ("g.json", group), ("target-health-g.json", draining)];
    let config = import(&files).unwrap();
    let targets: Vec<_> = config.target_groups[0].targets.iter().map(|it| &*it.id).collect();
    assert_eq!(targets, ["10.0.0.2"]);
    assert!(config.leftovers.iter().any(|it| it.path == "targets.10.0.0.1"));
    assert!(config.check().is_ok());
}

/// What `describe-*` does not print is asked for by path, and a table of bindings answers it.
#[test]
fn bindings_complete_an_import() {
    let mut config = ministack();
    let problems = config.check().unwrap_err();
    let paths: Vec<_> = problems.iter().map(|it| it.path()).collect();
    assert_eq!(
        paths,
        [
            "listeners.443.certificates[0]",
            "listeners.443.rules.80.authenticate.oidc.client_id",
            "listeners.443.rules.90.authenticate.cognito.client_id",
            "target_groups.instances.targets[0]",
        ]
    );
    config.bindings = Config::from_toml(
        r#"
        [bindings.certificates]
        shop = { certificate = "shop.pem", key = "shop.key" }
        [bindings.client_secrets]
        shop = { env = "SHOP_SECRET" }
        pool-client = { file = "pool.secret" }
        [bindings.targets]
        i-0123456789abcdef0 = "127.0.0.1:9005"
        "10.0.1.10:8080" = "127.0.0.1:9001"
        [bindings.functions]
        checkout = { endpoint = "http://127.0.0.1:9100" }
        [bindings.listen]
        443 = ["127.0.0.1:8443"]
        "#,
    )
    .unwrap()
    .bindings;
    let Certificate::Named(arn) = config.listeners[1].certificates[0].clone() else { panic!() };
    let binding = config.bindings.certificates.remove("shop").unwrap();
    config.bindings.certificates.insert(arn, binding);

    let checked = config.check().unwrap();
    let notes: Vec<_> = checked.notes().iter().map(ToString::to_string).collect();
    let has = |text: &str| notes.iter().any(|note| note.contains(text));
    assert!(has("`load_balancer.scheme`: internet-facing has no effect"), "{notes:#?}");
    assert!(has("`LoadBalancers.VpcId`: the network belongs to AWS"), "{notes:#?}");
}

/// The members that MiniStack does not print, from the service model.
#[test]
fn listeners_with_everything() {
    let config = import(&[
        ("load-balancers.json", LOAD_BALANCER),
        (
            "listeners.json",
            r#"{"Listeners": [{
                "ListenerArn": "arn:aws:elasticloadbalancing:us-east-1:000000000000:listener/app/a/1/2",
                "LoadBalancerArn": "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/a/1",
                "Port": 443, "Protocol": "HTTPS",
                "Certificates": [{"CertificateArn": "one"}],
                "SslPolicy": "ELBSecurityPolicy-TLS13-1-3-2021-06",
                "DefaultActions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}],
                "AlpnPolicy": ["None"],
                "MutualAuthentication": {
                    "Mode": "verify", "TrustStoreArn": "store", "IgnoreClientCertificateExpiry": true,
                    "TrustStoreAssociationStatus": "active", "AdvertiseTrustStoreCaNames": "on"
                },
                "Brand": {"New": "value"}
            }]}"#,
        ),
        (
            "listener-certificates-443.json",
            r#"{"Certificates": [
                {"CertificateArn": "one", "IsDefault": true}, {"CertificateArn": "two", "IsDefault": false}
            ]}"#,
        ),
        (
            "listener-attributes-443.json",
            r#"{"Attributes": [
                {"Key": "routing.http.response.server.enabled", "Value": "false"},
                {"Key": "routing.http.response.x_frame_options.header_value", "Value": "DENY"},
                {"Key": "routing.http.response.content_security_policy.header_value", "Value": ""},
                {"Key": "routing.http.request.x_amzn_tls_version.header_name", "Value": "x-amzn-tls-version"},
                {"Key": "routing.http.request.x_amzn_mtls_clientcert_leaf.header_name", "Value": "X-Leaf"},
                {"Key": "routing.http.response.brand_new.enabled", "Value": "true"}
            ]}"#,
        ),
    ])
    .unwrap();
    let listener = &config.listeners[0];
    let names = ["one", "two"].map(|name| Certificate::Named(name.to_owned()));
    assert_eq!(listener.certificates, names);
    let trust_store = "store".to_owned();
    let verify = MutualTls::Verify { trust_store, ignore_expiry: true, advertise_ca_names: true };
    assert_eq!(listener.mutual_tls, verify);
    let attributes = &listener.attributes;
    assert!(!attributes.server_header);
    assert_eq!(format!("{:?}", attributes.response_headers), r#"{"x-frame-options": "DENY"}"#);
    let renamed = r#"{"x-amzn-mtls-clientcert-leaf": "X-Leaf"}"#;
    assert_eq!(format!("{:?}", attributes.request_headers), renamed);

    let unsupported = config.leftovers.iter().filter(|it| it.kind == LeftoverKind::Unsupported);
    let paths: Vec<_> = unsupported.map(|it| &*it.path).collect();
    assert_eq!(
        paths,
        [
            "listeners.json: Listeners[0].Brand",
            "listener-attributes-443.json: routing.http.response.brand_new.enabled",
            "listeners.443.rules",
        ]
    );
    assert!(config.leftovers.iter().any(|it| it.path == "Listeners.AlpnPolicy"));
    let problems = config.check().unwrap_err();
    let kinds = problems.iter().filter(|it| it.kind() == ProblemKind::NotSupported).count();
    assert_eq!(kinds, 3);
    let mut bound = config;
    for name in ["one", "two"] {
        let files = CertificateBinding::files("a", "b");
        bound.bindings.certificates.insert(name.to_owned(), files);
    }
    bound.bindings.trust_stores.insert("store".to_owned(), Default::default());
    let checked =
        Check::new().accept("*.Brand").accept("*brand_new*").accept("listeners.443.rules");
    assert_eq!(checked.check(&bound).unwrap().accepted().len(), 3);
}

const LOAD_BALANCER: &str = r#"{"LoadBalancers": [{
    "LoadBalancerArn": "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/a/1",
    "LoadBalancerName": "a", "Type": "application"
}]}"#;
const LISTENER: &str = r#"{"Listeners": [{
    "ListenerArn": "arn:aws:elasticloadbalancing:us-east-1:000000000000:listener/app/a/1/2",
    "LoadBalancerArn": "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/a/1",
    "Port": 80, "Protocol": "HTTP",
    "DefaultActions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]
}]}"#;

fn import(files: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let import = files.iter().fold(Import::new(), |import, (name, text)| import.file(name, text));
    import.finish().map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn problems(files: &[(&str, &str)]) -> Vec<String> {
    let base = [("load-balancers.json", LOAD_BALANCER), ("listeners.json", LISTENER)];
    import(&[&base, files].concat()).unwrap_err()
}

fn rule(rest: &str) -> String {
    let arn = "arn:aws:elasticloadbalancing:us-east-1:000000000000:listener-rule/app/a/1/2/3";
    format!(r#"{{"Rules": [{{"RuleArn": "{arn}", {rest}}}]}}"#)
}

/// A rule without its unknown part would match more requests or do something else.
#[test]
fn unknown_parts_of_rules_are_problems() {
    let answer =
        r#""Actions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}]"#;
    for (rest, expected) in [
        (
            format!(r#""Priority": "1", "Conditions": [{{"Field": "moon-phase"}}], {answer}"#),
            "`rules.json: Rules[0].Conditions[0].Field` is moon-phase: expected host-header",
        ),
        (
            r#""Priority": "1", "Actions": [{"Type": "teleport"}]"#.to_owned(),
            "`rules.json: Rules[0].Actions[0].Type` is teleport: expected forward, redirect",
        ),
        (
            r#""Priority": "1", "Actions": []"#.to_owned(),
            "`rules.json: Rules[0].Actions`: expected an action that answers",
        ),
        (
            r#""Priority": "1", "Actions": [{"Type": "redirect"}]"#.to_owned(),
            "`rules.json: Rules[0].Actions[0].RedirectConfig`: expected a table for an action",
        ),
        (
            format!(r#""Priority": "first", {answer}"#),
            "`rules.json: Rules[0].Priority` is first: expected a number from 1 to 50000",
        ),
        (
            format!(r#""Priority": "1", "Transforms": [{{"Type": "body-rewrite"}}], {answer}"#),
            "`rules.json: Rules[0].Transforms[0].Type` is body-rewrite: expected host-header-rewrite",
        ),
        (
            format!(
                r#""Priority": "1", "Conditions": [{{"Field": "query-string", "Values": ["a"],
                    "QueryStringConfig": {{"Values": [{{"Value": "b"}}]}}}}], {answer}"#
            ),
            "`rules.json: Rules[0].Conditions[0].Values`: expected no such member in a condition q",
        ),
        (
            format!(
                r#""Priority": "1", "Conditions": [{{"Field": "source-ip", "RegexValues": ["a"],
                    "Values": ["10.0.0.0/8"]}}], {answer}"#
            ),
            "`rules.json: Rules[0].Conditions[0].RegexValues`: expected no such member",
        ),
        (
            r#""Priority": "1", "Actions": [{"Type": "forward", "TargetGroupArn": "a",
                "RedirectConfig": {"StatusCode": "HTTP_301"}}]"#
                .to_owned(),
            "`rules.json: Rules[0].Actions[0].RedirectConfig`: expected no such member in an action",
        ),
        (
            format!(
                r#""Priority": "1", "Transforms": [{{"Type": "url-rewrite",
                    "UrlRewriteConfig": {{"Rewrites": [{{"Regex": "a", "Replace": "/"}}]}},
                    "HostHeaderRewriteConfig": {{"Rewrites": []}}}}], {answer}"#
            ),
            "`rules.json: Rules[0].Transforms[0].HostHeaderRewriteConfig`: expected no such member",
        ),
    ] {
        let found = problems(&[("rules.json", &rule(&rest))]);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{found:#?}");
    }
}

#[test]
fn incomplete_and_foreign_documents_are_problems() {
    let page = rule(r#""Priority": "1""#).replacen('{', r#"{"NextMarker": "abc","#, 1);
    let found = problems(&[("rules.json", &page)]);
    assert!(found[0].starts_with("`rules.json: NextMarker`: expected the last page"), "{found:?}");
    let found = problems(&[("x.json", "{}")]);
    assert!(found[0].starts_with("`x.json`: expected the output of an `aws elbv2"), "{found:?}");
    let found = problems(&[("x.json", "{")]);
    assert!(
        found[0].starts_with("`x.json, line 1, column 1`: expected a valid document"),
        "{found:?}"
    );
    let found = problems(&[("x.json", r#"{"Listeners": [{"Port": "http"}]}"#)]);
    assert!(found[0].starts_with("`x.json: Listeners[0]`: expected an object as AWS"), "{found:?}");
    let found = import(&[]).unwrap_err();
    assert_eq!(
        found,
        ["`LoadBalancers`: expected the output of `aws elbv2 describe-load-balancers`"]
    );
    let network = LOAD_BALANCER.replace("\"application\"", "\"network\"");
    let found = import(&[("a.json", &network)]).unwrap_err();
    assert!(found[0].contains("`a.json: LoadBalancers[0].Type` is network"), "{found:?}");
    let stray = rule(r#""Priority": "1""#).replace("app/a/1/2", "app/a/1/9");
    let found = problems(&[("rules.json", &stray)]);
    assert!(found[0].contains("a rule whose listener is in the files"), "{found:?}");
}

const TWO_GROUPS: &str = r#"{"TargetGroups": [
    {"TargetGroupArn": "g/web/1", "TargetGroupName": "web", "TargetType": "ip"},
    {"TargetGroupArn": "g/web-v2/2", "TargetGroupName": "web-v2", "TargetType": "ip"}
]}"#;
const HEALTH: &str =
    r#"{"TargetHealthDescriptions": [{"Target": {"Id": "10.0.0.1", "Port": 80}}]}"#;

/// An output that does not name its resource is assigned by the name of its file or a member.
#[test]
fn outputs_are_assigned_by_their_names() {
    let files = |health: &str, text: &str| {
        let base = [("load-balancers.json", LOAD_BALANCER), ("listeners.json", LISTENER)];
        let config = import(&[&base[..], &[("groups.json", TWO_GROUPS), (health, text)]].concat());
        config.unwrap().target_groups.iter().map(|it| it.targets.len()).collect::<Vec<_>>()
    };
    assert_eq!(files("target-health-web-v2.json", HEALTH), [0, 1]);
    assert_eq!(files("target-health-web.json", HEALTH), [1, 0]);
    assert_eq!(files("describe-target-health-2.json", HEALTH), [0, 1]);
    let named = HEALTH.replacen('{', r#"{"ResourceArn": "g/web-v2/2", "#, 1);
    assert_eq!(files("any.json", &named), [0, 1]);
    // The member decides.
    assert_eq!(files("target-health-web.json", &named), [0, 1]);
}

/// Settings of another resource are never applied: a file that does not name exactly one is a
/// problem, also if there is only one to choose from.
#[test]
fn outputs_about_an_unknown_resource_are_problems() {
    let attributes =
        |key: &str| format!(r#"{{"Attributes": [{{"Key": "{key}", "Value": "60"}}]}}"#);
    let idle = attributes("idle_timeout.timeout_seconds");
    let delay = attributes("deregistration_delay.timeout_seconds");
    let named = |arn: &str| HEALTH.replacen('{', &format!(r#"{{"ResourceArn": {arn}, "#), 1);
    for (file, text, expected) in [
        (
            "health.json",
            HEALTH,
            "`health.json`: expected a file name such as target-health-web.json",
        ),
        (
            "target-health-web-v3.json",
            HEALTH,
            "`target-health-web-v3.json` is about \"web-v3\": expected a file name such as",
        ),
        ("target-health-v2.json", HEALTH, "`target-health-v2.json` is about \"v2\": expected"),
        ("a.json", &named("\"g/web/9\""), "`a.json` is about \"g/web/9\": expected"),
        ("a.json", &named("7"), "`a.json: ResourceArn`: expected the ARN"),
        (
            "load-balancer-attributes.json",
            &idle,
            "`load-balancer-attributes.json`: expected a file name such as \
             load-balancer-attributes-a.json",
        ),
        (
            "load-balancer-attributes-b.json",
            &idle,
            "`load-balancer-attributes-b.json` is about \"b\": expected",
        ),
        (
            "target-group-attributes-web-v3.json",
            &delay,
            "`target-group-attributes-web-v3.json` is about \"web-v3\": expected",
        ),
        (
            "listener-attributes-81.json",
            &attributes("routing.http.response.server.enabled"),
            "`listener-attributes-81.json` is about \"81\": expected a file name such as \
             listener-attributes-80.json",
        ),
        (
            "listener-certificates-81.json",
            r#"{"Certificates": [{"CertificateArn": "one"}]}"#,
            "`listener-certificates-81.json` is about \"81\": expected",
        ),
    ] {
        let found = problems(&[("groups.json", TWO_GROUPS), (file, text)]);
        assert!(found[0].starts_with(expected), "{file}: {found:?}");
    }
    let twice = problems(&[
        ("groups.json", TWO_GROUPS),
        ("target-health-web.json", HEALTH),
        ("target-health-1.json", HEALTH),
    ]);
    let expected = "`target-health-1.json`: expected one output of its command: target-health-web";
    assert!(twice.len() == 1 && twice[0].starts_with(expected), "{twice:?}");
    let two_keys = HEALTH.replacen('{', r#"{"ResourceArn": "g/web/1", "TargetGroupArn": "b", "#, 1);
    let found = problems(&[("groups.json", TWO_GROUPS), ("a.json", &two_keys)]);
    assert!(found[0].starts_with("`a.json: TargetGroupArn`: expected the ARN"), "{found:?}");
}

/// The attributes of a load balancer that is not imported have no effect, and are no problem.
#[test]
fn attributes_of_another_load_balancer_are_left_out() {
    let two = LOAD_BALANCER.replace(
        "{\"LoadBalancers\": [",
        "{\"LoadBalancers\": [{\"LoadBalancerArn\": \"arn:lb/app/b/9\", \
         \"LoadBalancerName\": \"b\"}, ",
    );
    let idle = |seconds: u32| {
        format!(
            r#"{{"Attributes": [{{"Key": "idle_timeout.timeout_seconds", "Value": "{seconds}"}}]}}"#
        )
    };
    let import = |name: &str, files: &[(&str, &str)]| {
        let import = Import::new().load_balancer(name).file("lb.json", &two);
        files.iter().fold(import, |import, (name, text)| import.file(name, text)).finish()
    };
    let (a, b) = (idle(61), idle(62));
    let files =
        [("load-balancer-attributes-a.json", &*a), ("load-balancer-attributes-b.json", &*b)];
    for (name, seconds) in [("a", 61), ("b", 62)] {
        let config = import(name, &files).unwrap();
        let time = config.load_balancer.attributes.idle_timeout;
        assert_eq!(time, Time::from_secs(seconds), "{name}");
    }
    let config = import("b", &files[..1]).unwrap();
    assert_eq!(config.load_balancer.attributes.idle_timeout, Time::from_secs(60));
    assert!(config.leftovers.iter().any(|it| it.path == "load_balancer.attributes"));
}

#[test]
fn one_of_several_load_balancers() {
    let two = r#"{"LoadBalancers": [
        {"LoadBalancerArn": "arn:lb/app/a/1", "LoadBalancerName": "a"},
        {"LoadBalancerArn": "arn:lb/app/b/1", "LoadBalancerName": "b"}
    ]}"#;
    let listeners = r#"{"Listeners": [
        {"ListenerArn": "arn:l:listener/app/a/1/1", "LoadBalancerArn": "arn:lb/app/a/1", "Port": 80,
         "Protocol": "HTTP", "DefaultActions": [{"Type": "forward", "TargetGroupArn": "x:targetgroup/ga/1"}]},
        {"ListenerArn": "arn:l:listener/app/b/1/1", "LoadBalancerArn": "arn:lb/app/b/1", "Port": 81,
         "Protocol": "HTTP", "DefaultActions": [{"Type": "forward", "TargetGroupArn": "x:targetgroup/gb/1"}]}
    ]}"#;
    let groups = r#"{"TargetGroups": [
        {"TargetGroupArn": "x:targetgroup/ga/1", "TargetGroupName": "ga", "LoadBalancerArns": ["arn:lb/app/a/1"]},
        {"TargetGroupArn": "x:targetgroup/gb/1", "TargetGroupName": "gb", "LoadBalancerArns": ["arn:lb/app/b/1"]}
    ]}"#;
    let import = |import: Import| {
        import.file("lb.json", two).file("l.json", listeners).file("g.json", groups).finish()
    };
    let error = import(Import::new()).unwrap_err().to_string();
    assert_eq!(
        error,
        "`LoadBalancers` is a, b: expected one load balancer, or the name of one of them"
    );
    let config = import(Import::new().load_balancer("b")).unwrap();
    assert_eq!((config.listeners.len(), config.listeners[0].port), (1, 81));
    assert_eq!(config.target_groups.len(), 1);
    assert_eq!(config.target_groups[0].name, "gb");
}

/// A secret in the files is neither kept nor shown.
#[test]
fn client_secrets_are_not_kept() {
    let with_secret = rule(
        r#""Priority": "1", "Actions": [{"Type": "authenticate-oidc", "Order": 1, "AuthenticateOidcConfig":
            {"Issuer": "https://idp.example.com", "ClientId": "c", "ClientSecret": "hunter2"}},
            {"Type": "fixed-response", "Order": 2, "FixedResponseConfig": {"StatusCode": "200"}}]"#,
    );
    let base = [("load-balancers.json", LOAD_BALANCER), ("listeners.json", LISTENER)];
    let config = import(&[&base[..], &[("rules.json", &with_secret)]].concat()).unwrap();
    let shown = format!("{config:?} {:?} {}", config.check(), config.to_toml().unwrap());
    assert!(!shown.contains("hunter2"));
    let ignored = config.leftovers.iter().find(|it| it.path.ends_with("ClientSecret")).unwrap();
    assert_eq!(ignored.value, None);

    for text in [
        "[bindings.client_secrets]\nshop = \"hunter2\"",
        "[bindings.client_secrets]\nshop = [\"hunter2\"]",
        "[bindings]\ncookie_secret = \"hunter2\"",
    ] {
        let problems = Config::from_toml(text).unwrap_err();
        let shown = format!("{problems} {problems:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_directory_has_bindings_too() {
    let directory = std::env::temp_dir().join(format!("tower-lb-import-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("a.json"), LOAD_BALANCER).unwrap();
    fs::write(directory.join("b.json"), LISTENER).unwrap();
    fs::write(directory.join("notes.txt"), "not read").unwrap();
    fs::write(directory.join("bindings.toml"), "[listen]\n80 = [\"127.0.0.1:8080\"]").unwrap();
    let config = Config::read(&directory).unwrap();
    assert_eq!(config.bindings.listen["80"][0].to_string(), "127.0.0.1:8080");
    fs::write(directory.join("bindings.toml"), "[listn]").unwrap();
    let problems = Config::read(&directory).unwrap_err().to_string();
    assert!(problems.starts_with("`bindings.toml, line 1"), "{problems}");
    fs::remove_dir_all(&directory).unwrap();
    assert!(Config::read(&directory).is_err());
    assert_eq!(Bindings::default(), Config::default().bindings);
}
