//! nginx and HAProxy with the same rules: the same request must match the same rule, and be
//! redirected to the same URL.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use http::StatusCode;
use proptest::{
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{RngSeed, TestRunner},
};
use tokio::net::{TcpListener, TcpStream};
use tower_lb::rules::{Action, Condition, FixedResponse, Forward, Redirect, Rule, Rules};

use crate::server::{Answer, Echo, ask, serve};

/// Name, hosts, paths, methods, and the values of the header field `x-a`; empty lists are no
/// condition.
type Row = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
);

const RULES: &[Row] = &[
    ("moved", &[], &["/moved/*"], &[], &[]),
    ("exact", &["shop.example"], &["/cart"], &[], &[]),
    ("two-stars", &["shop.example", "*.shop.example"], &["/img/*/large/*.png"], &[], &[]),
    ("question", &["*.shop.example"], &["/v?/users", "/v?/users/*"], &["GET", "HEAD"], &[]),
    ("upper", &[], &["/Cart*"], &[], &[]),
    ("header", &[], &["/cart*"], &[], &["Beta*", "*canary?"]),
    ("many", &["s*p.ex?mple"], &["*a*a*b*"], &[], &[]),
    ("put", &[], &["/*"], &["PUT"], &[]),
    ("dots", &["*.*.example"], &["/.well-known/*", "*/../*"], &[], &[]),
    ("encoded", &[], &["*2e*", "/?(c)+$"], &[], &[]),
    ("shop", &["*shop.example"], &[], &[], &[]),
];

#[derive(Debug)]
struct Asked {
    method: &'static str,
    host: String,
    target: String,
    header: Option<&'static str>,
}

impl Asked {
    fn lines(&self) -> String {
        let header = self.header.map_or(String::new(), |value| format!("\r\nX-A: {value}"));
        format!("{} {} HTTP/1.1\r\nHost: {}{header}", self.method, self.target, self.host)
    }
}

/// The same requests in each run.
fn requests(count: usize) -> Vec<Asked> {
    let host = prop_oneof![
        4 => select(vec!["shop.example", "SHOP.example", "www.shop.example", "a.b.shop.example"]).prop_map(str::to_owned),
        1 => select(vec!["ship.example", "s.p.example", "other.test", "shop.example.org"]).prop_map(str::to_owned),
        1 => "[sxhop]{1,4}p\\.ex[a-c]mple",
    ];
    let path = prop_oneof![
        3 => select(vec![
            "/cart", "/cart/", "/Cart", "/CART/1", "/", "//", "/moved/a/b", "/moved/", "/moved",
            "/img/1/large/x.png", "/img/1/2/large/y/x.png", "/img/large/x.png", "/img//large/.png",
            "/v1/users", "/v1/users/7", "/v12/users", "/v/users", "/.well-known/acme", "/a/../b",
            "/a/%2e%2e/b", "/%2Fcart", "/a(c)+$", "/(c)+$", "/xay/ab/b",
        ]).prop_map(str::to_owned),
        2 => "/[ab/.]{0,8}",
    ];
    let query = select(vec!["", "?a=1", "?a=/cart", "?x=%20&y"]);
    let method = select(vec!["GET", "GET", "GET", "POST", "PUT"]);
    let header =
        select(vec![None, None, Some("beta-2"), Some("BETA"), Some("x-CANARY1"), Some("canary")]);
    let config = ProptestConfig { rng_seed: RngSeed::Fixed(15), ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let one =
        (method, host, path, query, header).prop_map(|(method, host, path, query, header)| Asked {
            method,
            host,
            target: format!("{path}{query}"),
            header,
        });
    (0..count).map(|_| one.new_tree(&mut runner).unwrap().current()).collect()
}

fn ours() -> Rules<Action<Echo>> {
    let moved = Redirect::builder(StatusCode::FOUND)
        .protocol("https")
        .host("www.#{host}")
        .port("8443")
        .path("/new/#{path}")
        .build()
        .unwrap();
    let rules = RULES.iter().zip(1..).map(|((name, hosts, paths, methods, headers), priority)| {
        let action =
            if *name == "moved" { moved.clone().into() } else { Forward::to(Echo("echo")).into() };
        let mut rule = Rule::new(priority * 10, action).name(*name);
        if !hosts.is_empty() {
            rule = rule.when(Condition::host(hosts.iter().copied()));
        }
        if !paths.is_empty() {
            rule = rule.when(Condition::path(paths.iter().copied()));
        }
        if !methods.is_empty() {
            rule = rule.when(Condition::method(methods.iter().copied()));
        }
        if !headers.is_empty() {
            rule = rule.when(Condition::header("x-a", headers.iter().copied()));
        }
        rule
    });
    let default = FixedResponse::builder(StatusCode::NOT_FOUND).build().unwrap();
    Rules::builder(Action::from(default)).rules(rules).build().unwrap()
}

/// The wildcards as a regular expression that is the whole of a text.
fn expression(patterns: &[&str]) -> String {
    let one = |pattern: &&str| -> String {
        let char = |char| match char {
            '*' => ".*".to_owned(),
            '?' => ".".to_owned(),
            '.' | '+' | '(' | ')' | '$' => format!("\\{char}"),
            other => other.to_string(),
        };
        pattern.chars().map(char).collect()
    };
    let all: Vec<_> = patterns.iter().map(one).collect();
    format!("^({})$", all.join("|"))
}

/// Which rule answered, or where to.
fn told(answer: &Answer) -> String {
    match answer.status {
        302 => {
            let location = answer.field("location").unwrap_or("none");
            // HAProxy writes the question mark of an empty query.
            format!("to {}", location.strip_suffix('?').unwrap_or(location))
        }
        404 => "default".to_owned(),
        200 => answer.field("x-rule").unwrap_or("none").to_owned(),
        status => status.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_matches_the_same_rules() {
    if !is_installed("haproxy") {
        return;
    }
    let (haproxy, server) = (haproxy().await, serve(ours()).await);
    let mut rules = std::collections::HashSet::new();
    for asked in requests(200) {
        let expected = told(&ask(haproxy.address, &asked.lines()).await);
        let found = told(&ask(server, &asked.lines()).await);
        assert_eq!(found.to_lowercase(), expected.to_lowercase(), "{}", asked.lines());
        rules.insert(found.split(' ').next().unwrap().to_owned());
    }
    // The requests are of use only if they reach the rules.
    assert!(rules.len() >= 10, "{rules:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_matches_the_same_rules() {
    if !is_installed("nginx") {
        return;
    }
    let (nginx, server) = (nginx().await, serve(ours()).await);
    let mut compared = 0;
    for asked in requests(200) {
        let expected = told(&ask(nginx.address, &asked.lines()).await);
        let found = told(&ask(server, &asked.lines()).await);
        // nginx refuses paths that lead out of the root, before any rule.
        if expected == "400" {
            continue;
        }
        assert_eq!(found.to_lowercase(), expected.to_lowercase(), "{}", asked.lines());
        compared += 1;
    }
    assert!(compared >= 150, "{compared}");
}

struct Reference {
    process: Child,
    address: SocketAddr,
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn is_installed(name: &str) -> bool {
    let mut version = Command::new(name);
    version.arg("-v").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let installed = version.status().is_ok();
    if !installed {
        eprintln!("SKIPPED: {name} is not installed");
    }
    installed
}

/// Returns a free address and a directory of its own.
async fn place() -> (SocketAddr, PathBuf) {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let path = format!("{}/rules-{}", env!("CARGO_TARGET_TMPDIR"), address.port());
    fs::create_dir_all(&path).unwrap();
    (address, path.into())
}

async fn ready(mut command: Command, address: SocketAddr) -> Reference {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let reference = Reference { process: command.spawn().unwrap(), address };
    for _ in 0..200 {
        if TcpStream::connect(address).await.is_ok() {
            return reference;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{command:?} does not listen");
}

async fn haproxy() -> Reference {
    let (address, directory) = place().await;
    let mut lines = String::new();
    for (name, hosts, paths, methods, headers) in RULES {
        let mut conditions = String::new();
        if !hosts.is_empty() {
            let hosts = expression(hosts);
            conditions += &format!(" {{ req.hdr(host),host_only,lower -m reg '{hosts}' }}");
        }
        if !paths.is_empty() {
            conditions += &format!(" {{ path -m reg '{}' }}", expression(paths));
        }
        if !methods.is_empty() {
            conditions += &format!(" {{ method {} }}", methods.join(" "));
        }
        if !headers.is_empty() {
            conditions += &format!(
                " {{ req.fhdr(x-a) -i -m reg '{}' }}",
                expression(headers).replace("Beta", "beta")
            );
        }
        let action = match *name {
            "moved" => "redirect code 302 location https://www.%[req.hdr(host),host_only]:8443/new%[path]?%[query]".to_owned(),
            name => format!("return status 200 hdr x-rule {name}"),
        };
        lines += &format!("    http-request {action} if{conditions}\n");
    }
    let configuration = format!(
        "defaults
    mode http
    timeout client 10s
    timeout server 10s
    timeout connect 10s
frontend rules
    bind {address}
{lines}    http-request return status 404
"
    );
    let file = directory.join("haproxy.cfg");
    fs::write(&file, configuration).unwrap();
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(&file);
    ready(command, address).await
}

async fn nginx() -> Reference {
    let (address, directory) = place().await;
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("    {what}_temp_path {what};\n"))
        .concat();
    let mut rows = String::new();
    for (name, hosts, paths, methods, headers) in RULES {
        // One text of all parts, which `|` separates.
        let part = |patterns: &[&str]| match patterns {
            [] => "[^|]*".to_owned(),
            patterns => {
                let whole = expression(patterns);
                let inner = whole.trim_start_matches('^').trim_end_matches('$');
                inner.replace(".*", "[^|]*").replace("(.)", "([^|])")
            }
        };
        let (host, path, method) = (part(hosts), part(paths), part(methods));
        let header =
            if headers.is_empty() { part(headers) } else { format!("(?i:{})", part(headers)) };
        rows += &format!("        \"~^{method}\\|{host}\\|{path}\\|{header}$\" {name};\n");
    }
    let configuration = format!(
        "daemon off;
master_process off;
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 64; }}
http {{
    access_log off;
{temporary}
    map_hash_bucket_size 256;
    map $request_uri $raw_path {{ ~^(?<raw>[^?]*) $raw; }}
    map \"$request_method|$host|$raw_path|$http_x_a\" $rule {{
        default none;
{rows}    }}
    server {{
        listen {address};
        merge_slashes off;
        location / {{
            if ($rule = moved) {{ return 302 https://www.$host:8443/new$request_uri; }}
            if ($rule = none) {{ return 404; }}
            add_header x-rule $rule;
            return 200;
        }}
    }}
}}
"
    );
    fs::write(directory.join("nginx.conf"), configuration).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&directory).args(["-c", "nginx.conf"]);
    ready(command, address).await
}
