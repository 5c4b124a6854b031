//! Every problem of a configuration is found at once, with its path, value and what was expected.

use tower_lb::alb::config::{Check, Config, ProblemKind};

/// Returns the problems and the notes of a file.
fn check(toml: &str) -> (Vec<String>, Vec<String>) {
    let config = Config::from_toml(toml).unwrap();
    let texts = |problems: Vec<_>| problems.iter().map(ToString::to_string).collect();
    match config.check() {
        Ok(checked) => (Vec::new(), checked.notes().iter().map(ToString::to_string).collect()),
        Err(problems) => (texts(problems.into_iter().collect()), Vec::new()),
    }
}

/// Asserts that a file has exactly these problems, by their beginnings.
#[track_caller]
fn rejects(toml: &str, expected: &[&str]) {
    let (problems, _) = check(toml);
    let is_same = problems.len() == expected.len()
        && problems.iter().zip(expected).all(|(problem, start)| problem.starts_with(start));
    assert!(is_same, "{toml}\n{problems:#?}");
}

#[track_caller]
fn notes(toml: &str, expected: &str) {
    let (problems, notes) = check(toml);
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(notes.iter().any(|note| note.starts_with(expected)), "{toml}\n{notes:#?}");
}

/// A listener whose only rule has this condition or action.
fn rule(rule: &str) -> String {
    format!("[[listeners]]\nport = 80\n[[listeners.rules]]\n{rule}")
}

fn condition(condition: &str) -> String {
    rule(&format!("conditions = [{condition}]\naction = {{ fixed_response = {{ status = 200 }} }}"))
}

fn action(action: &str) -> String {
    rule(&format!("conditions = [{{ path = \"/a\" }}]\naction = {{ {action} }}"))
}

fn group(rest: &str) -> String {
    format!("[[target_groups]]\nname = \"web\"\n{rest}")
}

fn attributes(rest: &str) -> String {
    group(&format!("[target_groups.attributes]\n{rest}"))
}

#[test]
fn a_small_file_is_a_useful_load_balancer() {
    let toml = r#"
        [[listeners]]
        port = 8080
        default_action = { forward = "web" }

        [[listeners.rules]]
        conditions = [{ path = "/api/*" }]
        action = { forward = "api" }

        [[target_groups]]
        name = "web"
        targets = ["127.0.0.1:9001", "127.0.0.1:9002"]

        [[target_groups]]
        name = "api"
        targets = ["127.0.0.1:9003"]
    "#;
    let checked = Config::from_toml(toml).unwrap().check().unwrap();
    assert!(checked.notes().is_empty(), "{:?}", checked.notes());
    assert_eq!(checked.target_group("web").unwrap().targets.len(), 2);
    assert_eq!(checked.listeners[0].addresses[0].to_string(), "0.0.0.0");
}

#[test]
fn all_problems_are_found_at_once() {
    rejects(
        r#"
        [[listeners]]
        port = 443
        protocol = "https"
        default_action = { forward = "nowhere" }
        [[listeners.rules]]
        priority = 5
        conditions = [{ path = "/a" }]
        action = { forward = [{ group = "web", weight = 1000 }] }
        [[listeners.rules]]
        priority = 5
        conditions = [{ path = "/b" }]
        action = { fixed_response = { status = 200 } }
        [[listeners]]
        port = 443
        [[target_groups]]
        name = "web"
        targets = ["i-0", "10.0.0.1"]
        [[target_groups]]
        name = "web"
        [resilience]
        retries = { attempts = 0 }
        "#,
        &[
            "`resilience.retries.attempts` is 0: expected at least 1",
            "`listeners.443.certificates`: expected at least one certificate",
            "`listeners.443.default_action.forward.groups[0].group` is nowhere: expected the name",
            "`listeners.443.rules.5.action.forward.groups[0].weight` is 1000: expected a number",
            "`listeners.443.rules.5.priority` is 5: expected a priority that no other rule has",
            "`listeners.443.port` is 443: expected a port that no other listener has",
            "`target_groups.web.targets[0]` is i-0: expected an IP address",
            "`target_groups.web.targets[1]` is 10.0.0.1: expected a port",
            "`target_groups.web.name` is \"web\": expected a name that no other",
        ],
    );
}

#[test]
fn listeners() {
    rejects("[[listeners]]\nport = 0", &["`listeners.0.port` is 0: expected a port"]);
    rejects(
        "[[listeners]]\nport = 80\ncertificates = [\"a\"]\nsecurity_policy = \"p\"\n\
         mutual_tls = { mode = \"passthrough\" }",
        &[
            "`listeners.80.certificates`: expected no value, because `protocol` is `http`",
            "`listeners.80.security_policy` is p: expected no value",
            "`listeners.80.mutual_tls`: expected no value",
        ],
    );
    rejects(
        "[[listeners]]\nport = 80\n[listeners.attributes]\nrequest_headers = { x-a = \"b c\" }\n\
         response_headers = { x-frame-options = \"a\\nb\" }",
        &[
            "`listeners.80.attributes.request_headers.x-a`: expected one of x-amzn",
            "`listeners.80.attributes.request_headers.x-a` is \"b c\": expected the name",
            "`listeners.80.attributes.response_headers.x-frame-options` is \"a\\nb\": expected the value",
        ],
    );
    rejects(
        "[[listeners]]\nport = 443\nprotocol = \"https\"\ncertificates = [{ program = \"c\" }, \"d\"]\n\
         mutual_tls = { mode = \"verify\", trust_store = \"s\" }",
        &[
            "`listeners.443.certificates[1]` is d: expected a certificate with an entry",
            "`listeners.443.mutual_tls.trust_store` is s: expected a trust store",
        ],
    );
    rejects(
        "[[listeners]]\nport = 80\n[[listeners]]\nport = 81\naddresses = [\"::1\", \"::1\"]\n\
         [bindings.listen]\n80 = [\"127.0.0.1:0\", \"127.0.0.1:0\", \"[::1]:81\"]",
        &[
            "`listeners.81.addresses` is [::1]:81: expected an address that is bound once",
            "`listeners.81.addresses` is [::1]:81: expected an address that is bound once",
        ],
    );
    notes("", "`listeners`: there is no listener");
}

#[test]
fn security_policies() {
    let with = |policy: &str| {
        format!(
            "[[listeners]]\nport = 443\nprotocol = \"https\"\ncertificates = [{{ program = \"c\" }}]\n\
             security_policy = \"{policy}\""
        )
    };
    let exact = Config::from_toml(&with("ELBSecurityPolicy-TLS13-1-2-Res-2021-06")).unwrap();
    assert!(exact.check().unwrap().notes().is_empty());
    rejects(
        &with("strong"),
        &["`listeners.443.security_policy` is strong: expected a security policy"],
    );
    notes(
        &with("ELBSecurityPolicy-2016-08"),
        "`listeners.443.security_policy`: clients cannot use TLSv1",
    );
}

#[test]
fn conditions() {
    for (text, expected) in [
        (
            "{ host = \"localhost\" }",
            "conditions[0].host[0]` is \"localhost\": the ALB expects a host with",
        ),
        ("{ host = \"a.b1\" }", "conditions[0].host[0]` is \"a.b1\": the ALB expects only letters"),
        ("{ host = \"a b.c\" }", "conditions[0].host[0]` is \"a b.c\": expected letters"),
        ("{ host = [] }", "conditions[0].host`: expected at least one value"),
        (
            "{ path = \"/%20\" }",
            "conditions[0].path[0]` is \"/%20\": the ALB expects a path without `%`",
        ),
        (
            "{ path = { regex = [\"(?=a)\"] } }",
            "conditions[0].path.regex[0]` is \"(?=a)\": expected a regular",
        ),
        (
            "{ header = { name = \"Host\", value = \"a\" } }",
            "conditions[0].header.name` is \"Host\": expected another",
        ),
        (
            "{ header = { name = \"a*\\u0001\", value = \"a\" } }",
            "conditions[0].header.name` is \"a*\\u{1}\"",
        ),
        ("{ method = \"get\" }", "conditions[0].method[0]` is \"get\": the ALB expects upper case"),
        ("{ method = \"*(\" }", "conditions[0].method[0]` is \"*(\": expected a method"),
        (
            "{ source_ip = \"10.0.0.1\" }",
            "conditions[0].source_ip[0]` is \"10.0.0.1\": the ALB expects a network with",
        ),
        (
            "{ source_ip = \"255.255.255.255/32\" }",
            "conditions[0].source_ip[0]` is 255.255.255.255/32: the ALB",
        ),
        ("{ path = \"/a\" }, { path = \"/b\" }", "conditions[1].path`: expected at most one"),
    ] {
        rejects(&condition(text), &[&format!("`listeners.80.rules.1.{expected}")]);
    }
    let long = "a".repeat(129);
    let expected =
        "`listeners.80.rules.1.conditions[0].path[0]` is 130 characters: the ALB expects";
    rejects(&condition(&format!("{{ path = \"/{long}\" }}")), &[expected]);
    // Quotas can be raised.
    notes(
        &condition("{ path = [\"/a*\", \"/b*\", \"/c*\", \"/d*\", \"/e*\", \"/f*\"] }"),
        "`listeners.80.rules.1.conditions`: the rule has 6 values",
    );
    notes(&condition(""), "`listeners.80.rules.1.conditions`: the rule has no condition");
    notes(
        &condition("{ path = \"a\" }"),
        "`listeners.80.rules.1.conditions[0].path[0]`: a path begins",
    );
}

/// No pattern takes exponential time.
#[test]
fn many_rules_of_many_wildcards() {
    let mut toml = "[[listeners]]\nport = 80\n".to_owned();
    for _ in 0..101 {
        toml += "[[listeners.rules]]\nconditions = [{ path = \"/*a*a*a*a*a*b\" }]\n\
                 action = { redirect = { path = \"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" } }\n";
    }
    let start = std::time::Instant::now();
    notes(&toml, "`listeners.80.rules`: the ALB's quota is 100");
    // A chain of redirects through all rules.
    let mut toml = "[[listeners]]\nport = 80\n".to_owned();
    for step in 0..1000 {
        toml += &format!(
            "[[listeners.rules]]\nconditions = [{{ path = \"*/{step}\" }}]\n\
             action = {{ redirect = {{ path = \"/{}\" }} }}\n",
            step + 1
        );
    }
    notes(&toml, "`listeners.80.rules`: the ALB's quota is 100");
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}

#[test]
fn transforms() {
    let with = |transform: &str| {
        rule(&format!(
            "conditions = [{{ path = \"/a\" }}]\ntransforms = {{ {transform} }}\n\
             action = {{ fixed_response = {{ status = 200 }} }}"
        ))
    };
    rejects(
        &with("url = { regex = \"^/(a\", replace = \"/$1\" }"),
        &["`listeners.80.rules.1.transforms.url.regex` is \"^/(a\": expected a regular expression"],
    );
    rejects(
        &with("host = { regex = \"^(a)\", replace = \"$2\" }"),
        &[
            "`listeners.80.rules.1.transforms.host.replace` is \"$2\": expected groups from $0 to $1",
        ],
    );
    rejects(
        &with("url = { regex = \"a\", replace = \"/\\r\\nX: y\" }"),
        &["`listeners.80.rules.1.transforms.url.replace` is"],
    );
}

#[test]
fn redirects() {
    for (text, expected) in [
        ("", ": expected another protocol, host, port or path"),
        ("query = \"a=b\"", ": expected another protocol, host, port or path"),
        ("host = \"#{host}\", path = \"/#{path}\"", ": expected another protocol"),
        ("protocol = \"ftp\"", ".protocol` is ftp: expected http, https or #{protocol}"),
        ("port = 0", ".port` is 0: expected a number from 1"),
        ("port = \"#{host}\", host = \"a.b\"", ".port` is #{host}: expected a number"),
        ("path = \"a\"", ".path` is a: expected a path that starts with /"),
        ("path = \"/#{query}\"", ".path` is /#{query}: expected no other keywords than #{host}"),
        ("path = \"/#{path\"", ".path` is /#{path: expected no other keywords"),
        ("host = \"a\\nb\"", ".host` is a\\nb: expected characters that"),
        ("path = \"/b\", status = 307", ".status` is 307: expected 301 or 302"),
    ] {
        let (problems, _) = check(&action(&format!("redirect = {{ {text} }}")));
        let path = "`listeners.80.rules.1.action.redirect";
        let is_found = problems.iter().any(|it| {
            it.strip_prefix(path).is_some_and(|it| it.trim_start_matches('`').starts_with(expected))
        });
        assert!(is_found, "{text}: {problems:#?}");
    }
    notes(
        &action("redirect = { protocol = \"https\" }"),
        "`listeners.80.rules.1.action.redirect.port`: the port stays 80",
    );
    rejects(
        "[[listeners]]\nport = 443\nprotocol = \"https\"\ncertificates = [{ program = \"c\" }]\n\
         default_action = { redirect = { protocol = \"http\" } }",
        &["`listeners.443.default_action.redirect.protocol` is http: expected https"],
    );
}

#[test]
fn redirect_loops() {
    let loops =
        |toml: &str| check(toml).0.iter().filter(|it| it.contains("leads back here")).count();
    let toml = |rules: &[(&str, &str)], default: &str| {
        let mut toml = format!("[[listeners]]\nport = 80\ndefault_action = {{ {default} }}\n");
        for (conditions, action) in rules {
            toml += &format!(
                "[[listeners.rules]]\nconditions = [{conditions}]\naction = {{ {action} }}\n"
            );
        }
        toml
    };
    let fixed = "fixed_response = { status = 404 }";
    // A path that its own rule matches.
    let inner = ("{ path = \"/a/*\" }", "redirect = { path = \"/a/b\" }");
    assert_eq!(loops(&toml(&[inner], fixed)), 1);
    // Another rule comes first for the target.
    let stop = ("{ path = \"/a/b\" }", fixed);
    assert_eq!(loops(&toml(&[stop, inner], fixed)), 0);
    // The target is outside of the rule.
    assert_eq!(loops(&toml(&[("{ path = \"/a\" }", "redirect = { path = \"/b\" }")], fixed)), 0);
    // Two rules that lead to each other, and one that leads to them.
    let there = ("{ path = \"/a\" }", "redirect = { path = \"/b\" }");
    let back = ("{ path = \"/b\" }", "redirect = { path = \"/a\" }");
    let into = ("{ path = \"/c\" }", "redirect = { path = \"/a\" }");
    assert_eq!(loops(&toml(&[there, back, into], fixed)), 2);
    // The default action matches everything, also a growing path.
    assert_eq!(loops(&toml(&[], "redirect = { path = \"/x/#{path}\" }")), 1);
    // Another host may be another server, unless a rule is about it.
    assert_eq!(loops(&toml(&[], "redirect = { host = \"www.example.com\" }")), 0);
    let host = ("{ host = \"*.example.com\" }", "redirect = { host = \"www.example.com\" }");
    assert_eq!(loops(&toml(&[host], fixed)), 1);
    // Another port that no listener has.
    assert_eq!(loops(&toml(&[], "redirect = { port = 81, path = \"/#{path}\" }")), 0);
    // A condition that may not hold again is no proof.
    let query = ("{ query = [{ value = \"a\" }] }", "redirect = { path = \"/b\", query = \"\" }");
    assert_eq!(loops(&toml(&[query], fixed)), 0);
    let header = ("{ header = { name = \"a\", value = \"b\" } }", "redirect = { path = \"/b\" }");
    assert_eq!(loops(&toml(&[header], fixed)), 1);
    let post = ("{ method = \"POST\" }", "redirect = { path = \"/b\" }");
    assert_eq!(loops(&toml(&[post], fixed)), 0);
    // HTTP to HTTPS is no loop.
    let https =
        "\n[[listeners]]\nport = 443\nprotocol = \"https\"\ncertificates = [{ program = \"c\" }]\n";
    let redirect = "redirect = { protocol = \"https\", port = 443 }";
    assert_eq!(loops(&(toml(&[], redirect) + https)), 0);
}

#[test]
fn fixed_responses_and_forwards() {
    for (text, expected) in [
        ("fixed_response = { status = 100 }", "fixed_response.status` is 100: expected a status"),
        ("fixed_response = { status = 301 }", "fixed_response.status` is 301: expected a status"),
        (
            "fixed_response = { status = 204, body = \"a\" }",
            "fixed_response.body`: expected none, as status 204",
        ),
        (
            "fixed_response = { status = 200, content_type = \"image/png\" }",
            "fixed_response.content_type` is image/png: the ALB expects one of",
        ),
        ("forward = []", "forward`: expected at least one target group"),
    ] {
        rejects(&action(text), &[&format!("`listeners.80.rules.1.action.{expected}")]);
    }
    rejects(
        &(action("forward = [\"web\", \"web\"]") + "\n" + &group("")),
        &[
            "`listeners.80.rules.1.action.forward.groups[1].group` is web: expected each target group once",
        ],
    );
    rejects(
        &(action("forward = { groups = [\"web\"], stickiness = 0 }")
            + "\n"
            + &group("version = \"grpc\"")),
        &[
            "`listeners.80.rules.1.action.forward.groups[0].group` is web: the ALB expects a group whose",
            "`listeners.80.rules.1.action.forward.stickiness` is 0s: expected a time from 1s to 7d",
        ],
    );
    notes(&group(""), "`target_groups.web`: no action forwards to this group");
    notes(&group(""), "`target_groups.web.targets`: the group has no targets");
}

#[test]
fn authentication() {
    let with = |authenticate: &str| {
        rule(&format!(
            "conditions = [{{ path = \"/a\" }}]\nauthenticate = {{ {authenticate} }}\n\
             action = {{ fixed_response = {{ status = 200 }} }}\n"
        ))
    };
    rejects(
        &with(
            "jwt = { issuer = \"i\", jwks = \"ftp://a/b\", claims = [\
               { name = \"exp\", format = \"single_string\", values = [\"a\"] },\
               { name = \"scope\", format = \"space_separated_values\", values = [\"a b\"] }] }",
        ),
        &[
            "`listeners.80.rules.1.authenticate` is present: the ALB expects no value, because",
            "`listeners.80.rules.1.authenticate.jwt.jwks` is \"ftp://a/b\": expected an https URL",
            "`listeners.80.rules.1.authenticate.jwt.claims[0].name` is exp: expected another claim",
            "`listeners.80.rules.1.authenticate.jwt.claims[1].values[0]` is \"a b\": expected a value without",
        ],
    );
    rejects(
        &with(
            "oidc = { issuer = \"http://a\", client_id = \"c\", session = { cookie = \"a;b\", scope = \"email\", timeout = \"8d\" } }",
        ),
        &[
            "`listeners.80.rules.1.authenticate` is present",
            "`listeners.80.rules.1.authenticate.oidc.issuer` is \"http://a\": expected an https URL",
            "`listeners.80.rules.1.authenticate.oidc.client_id` is c: the ALB expects a client with an entry",
            "`listeners.80.rules.1.authenticate.oidc.session.cookie` is \"a;b\": expected the name",
            "`listeners.80.rules.1.authenticate.oidc.session.scope` is \"email\": expected a scope",
            "`listeners.80.rules.1.authenticate.oidc.session.timeout` is 8d: expected a time from 1s to 7d",
        ],
    );
}

/// The ranges of the load balancer's and the target group's attributes.
#[test]
fn attribute_ranges() {
    for (field, value, expected) in [
        ("idle_timeout", "4001", "is 4001s: the ALB expects a time from 1s to 4000s"),
        ("client_keep_alive", "59", "is 59s: the ALB expects a time from 1m to 7d"),
        ("idle_timeout", "0", "is 0s: expected a time above 0"),
        ("cross_zone", "false", "is false: the ALB expects true"),
        ("access_logs", "{ bucket = \"b\" }", "is not supported: logs are not written to S3"),
    ] {
        rejects(
            &format!("[load_balancer.attributes]\n{field} = {value}"),
            &[&format!("`load_balancer.attributes.{field}` {expected}")],
        );
    }
    rejects(
        "[load_balancer.attributes]\nx_forwarded_for = \"remove\"\nx_forwarded_for_port = true",
        &["`load_balancer.attributes.x_forwarded_for_port` is true: expected false"],
    );
    for (text, expected) in [
        (
            "deregistration_delay = 3601",
            "deregistration_delay` is 3601s: the ALB expects a time from 0s to 1h",
        ),
        ("slow_start = 29", "slow_start` is 29s: the ALB expects a time from 30s to 15m"),
        (
            "slow_start = 30\nalgorithm = \"least_outstanding_requests\"",
            "slow_start` is 30s: expected 0, because `algorithm` is not `round_robin`",
        ),
        ("anomaly_mitigation = true", "anomaly_mitigation` is true: expected false, because"),
        (
            "stickiness = { by = \"lb_cookie\", duration = \"8d\" }",
            "stickiness.duration` is 8d: expected a time from 1s to 7d",
        ),
        (
            "stickiness = { by = \"app_cookie\", cookie = \"AWSALB\" }",
            "stickiness.cookie` is AWSALB: expected",
        ),
        (
            "stickiness = { by = \"lb_cookie\" }\ncross_zone = \"off\"",
            "stickiness`: expected no value, because",
        ),
        (
            "fail_open = { count = 3 }",
            "dns_failover.count` is 1: expected at least `fail_open.count`",
        ),
        ("fail_open = { count = \"off\" }", "fail_open.count` is off: expected"),
        (
            "dns_failover = { percentage = 101 }",
            "dns_failover.percentage` is 101: expected off, or",
        ),
        ("multi_value_headers = true", "multi_value_headers` is true: expected false"),
    ] {
        rejects(&attributes(text), &[&format!("`target_groups.web.attributes.{expected}")]);
    }
}

#[test]
fn target_groups() {
    for (text, expected) in [
        ("port = 0", "port` is 0: expected a port"),
        (
            "health_check = { interval = 4, timeout = 2 }",
            "health_check.interval` is 4s: the ALB expects",
        ),
        (
            "health_check = { timeout = 121, interval = 300 }",
            "health_check.timeout` is 121s: the ALB",
        ),
        (
            "health_check = { healthy_threshold = 11 }",
            "health_check.healthy_threshold` is 11: the ALB",
        ),
        (
            "health_check = { healthy_threshold = 0 }",
            "health_check.healthy_threshold` is 0: expected a number from 1",
        ),
        ("health_check = { path = \"a\" }", "health_check.path` is \"a\": expected a path"),
        (
            "health_check = { matcher = \"2xx\" }",
            "health_check.matcher` is \"2xx\": expected codes",
        ),
        ("health_check = { matcher = \"500\" }", "health_check.matcher` is 500: expected codes"),
        ("health_check = { enabled = false }", "health_check.enabled` is false: expected true"),
        (
            "targets = [\"10.0.0.1:80\", \"10.0.0.1:80\"]",
            "targets[1]` is 10.0.0.1:80: expected each target once",
        ),
        (
            "targets = [{ id = \"10.0.0.1\", port = 80, zone = \"z\" }]",
            "targets[0].zone` is z: expected a zone",
        ),
        (
            "targets = [\"10.0.0.1:0\"]",
            "targets[0]` is 10.0.0.1:0: expected a port from 1 to 65535",
        ),
        ("kind = \"lambda\"\ntargets = [\"f\"]\nversion = \"http2\"", "version`: expected http1"),
        ("kind = \"lambda\"", "targets` is 0 targets: expected one function"),
        ("kind = \"lambda\"\ntargets = [\"a b\"]", "targets[0]` is a b: expected the ARN"),
    ] {
        rejects(&group(text), &[&format!("`target_groups.web.{expected}")]);
    }
    let lambda = |rest: &str| group(&format!("kind = \"lambda\"\ntargets = [\"f\"]\n{rest}"));
    rejects(
        &lambda(
            "strategy = { strategy = \"random\" }\nattributes = { algorithm = \"least_outstanding_requests\" }",
        ),
        &[
            "`target_groups.web.strategy`: expected no value, because the target is a function",
            "`target_groups.web.attributes.algorithm`: expected no value, because the target",
            "`target_groups.web.attributes.algorithm`: expected no value, because the group has",
        ],
    );
    notes(
        &lambda("health_check = { port = 81 }"),
        "`target_groups.web.health_check.port`: it has no effect, because the target is a function",
    );
    notes(
        &lambda("attributes = { deregistration_delay = 5 }"),
        "`target_groups.web.attributes.deregistration_delay`: it has no effect, because the target",
    );
    rejects(
        "[resilience]\nbudget = { share = 11.0 }\nhedge = 0",
        &[
            "`resilience.hedge` is 0s: expected a time above 0",
            "`resilience.budget.share` is 11: expected a number from 0 to 10",
        ],
    );
}

#[test]
fn bindings_without_a_use_are_noted() {
    notes(
        "[bindings.targets]\ni-1 = \"127.0.0.1:1\"",
        "`bindings.targets.i-1`: nothing in the configuration has this name",
    );
    rejects(
        "[bindings.targets]\ni-1 = \"127.0.0.1:0\"",
        &["`bindings.targets.i-1` is 127.0.0.1:0: expected a port"],
    );
}

#[test]
fn problems_are_accepted_by_path() {
    let toml = group("health_check = { interval = 1, timeout = 0.5 }\ntargets = [\"10.0.0.1:0\"]");
    let config = Config::from_toml(&toml).unwrap();
    assert_eq!(config.check().unwrap_err().iter().count(), 3);
    // What has no meaning cannot be accepted.
    let problems = Check::new().accept_all().check(&config).unwrap_err();
    let kinds: Vec<_> = problems.iter().map(|it| it.kind()).collect();
    assert_eq!(kinds, [ProblemKind::Invalid]);
    let toml = "accept = [\"*.health_check.*\"]\n".to_owned()
        + &group("health_check = { interval = 1, timeout = 0.5 }");
    let checked = Config::from_toml(&toml).unwrap().check().unwrap();
    assert_eq!(checked.accepted().len(), 2);
}

#[test]
fn unknown_fields_and_wrong_types_are_errors() {
    for (toml, expected) in [
        (
            "[load_balancr]",
            "`line 1, column 2`: expected a valid document: unknown field `load_balancr`",
        ),
        (
            "[[listeners]]\nport = \"a\"",
            "`line 2, column 8`: expected a valid document: invalid type: string",
        ),
        ("[[listeners]]", "`line 1, column 1`: expected a valid document: missing field `port`"),
        (
            "[load_balancer.attributes]\nidle_timeout = \"1 hour\"",
            "`line 2, column 16`: expected a valid",
        ),
    ] {
        let problems = Config::from_toml(toml).unwrap_err().to_string();
        assert!(problems.starts_with(expected), "{toml}: {problems}");
    }
}
