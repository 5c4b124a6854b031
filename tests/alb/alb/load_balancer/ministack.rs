//! The same load balancer in MiniStack, an emulator of AWS by others, and here: what it describes is
//! loaded, and generated requests are sent to both.
//!
//! `.ci/ministack` installs and starts it, and runs this test; without one it is skipped.

use std::{
    collections::BTreeMap,
    fmt,
    future::ready,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use bytes::Bytes;
use http::{Response, Uri};
use http_body_util::Full;
use rustls::crypto::ring;
use tower_lb::alb::{
    LoadBalancer,
    config::{Check, Config},
};

use super::running::{Running, directory, exchange};
use crate::target_group::backend::Backend;

const REQUESTS: usize = 1500;

/// Where both agree or differ in a way that is explained here.
///
/// Each entry says who follows the user guide and the API reference of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Same,
    /// AWS: a host is compared without regard to case. MiniStack regards it.
    HostCase,
    /// AWS: a method is compared with regard to case. MiniStack does not regard it.
    MethodCase,
    /// AWS: `*` and `?` are the only wildcards. In MiniStack, `[ab]` in a host or a path is one of
    /// these characters.
    Brackets,
    /// AWS: the path is compared as it was sent. MiniStack decodes it first.
    EncodedPath,
    /// AWS: `#{port}` may be part of a query. MiniStack replaces only `#{query}` in it.
    PortInQuery,
}

#[derive(Clone)]
struct Sent {
    method: &'static str,
    host: &'static str,
    path: &'static str,
    query: &'static str,
    fields: String,
}

impl Sent {
    fn bytes(&self, prefix: &str) -> String {
        let Self { method, host, path, query, fields } = self;
        let body = "content-length: 0\r\nconnection: close\r\n";
        format!("{method} {prefix}{path}{query} HTTP/1.1\r\nHost: {host}\r\n{fields}{body}\r\n")
    }

    /// Returns why the outcomes differ; `None` if nothing that is known explains it.
    fn explains(&self, here: &Outcome, there: &Outcome) -> Option<Verdict> {
        let is_lower = |text: &str| !text.bytes().any(|byte| byte.is_ascii_uppercase());
        Some(if here == there {
            Verdict::Same
        } else if !is_lower(self.host) {
            Verdict::HostCase
        } else if is_lower(self.method) {
            Verdict::MethodCase
        } else if self.path.contains('[') || there.text == "brackets" {
            Verdict::Brackets
        } else if self.path.contains('%') {
            Verdict::EncodedPath
        } else if there.location.as_deref().is_some_and(|url| url.contains("#{port}")) {
            Verdict::PortInQuery
        } else {
            return None;
        })
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, host, path, query, fields } = self;
        write!(f, "{method} {path}{query} at {host} ({})", fields.replace("\r\n", " "))
    }
}

/// What a client can tell of the rule that was used.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    status: u16,
    location: Option<String>,
    content_type: Option<String>,
    /// The body: a fixed response, or the name of the target. Not that of a redirect.
    text: String,
}

impl Outcome {
    async fn of(address: SocketAddr, request: String) -> Self {
        let answer = exchange(address, request).await;
        let is_redirect = answer.status / 100 == 3;
        let content_type = answer.field("content-type").filter(|_| !is_redirect);
        Self {
            status: answer.status,
            location: answer.field("location").map(with_port),
            content_type: content_type.map(str::to_owned),
            text: if is_redirect { String::new() } else { answer.text().to_owned() },
        }
    }
}

/// Adds the port that a URL need not name, as AWS does.
fn with_port(location: &str) -> String {
    let Ok(uri) = location.parse::<Uri>() else { return location.to_owned() };
    let Some(authority) = uri.authority().filter(|authority| authority.port().is_none()) else {
        return location.to_owned();
    };
    let port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    location.replacen(authority.as_str(), &format!("{authority}:{port}"), 1)
}

/// A small generator, so that each run sends the same requests.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % bound
    }

    fn of<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.below(texts.len())]
    }
}

fn generate(random: &mut Random) -> Sent {
    let methods = ["GET", "GET", "GET", "GET", "POST", "PUT", "DELETE", "PATCH", "put"];
    let hosts = [
        "shop.test",
        "www.shop.test",
        "www.shop.test:8080",
        "api.shop.test",
        "API.Shop.Test",
        "a.internal.test",
        "internal.test",
        "a.b.internal.test",
    ];
    let paths = [
        "/",
        "/img/a.png",
        "/img/a/b.png",
        "/IMG/a.png",
        "/img/a.pngx",
        "/static/a.css",
        "/static/ab.css",
        "/both/a",
        "/both/",
        "/both",
        "/old/a/b",
        "/old/",
        "/old/a%20b",
        "/secure/a",
        "/found",
        "/found/",
        "/local/a",
        "/a/b",
        "/[ab]/b",
        "/c/b",
        "/accept",
        "/x/%20a",
        "/Case",
        "/case",
        "/a.txt",
        "/x//a.txt",
        "/%61.txt",
        "/a.txt/b",
    ];
    let queries = ["", "", "", "?a=b", "?a=b&c=d", "?q=%20x", "?x", "?path=/img/a.png"];
    let versions = ["", "", "", "", "canary", "Canary", "beta-1", "beta-22", "stable"];
    let accepted = ["", "text/html", "TEXT/HTML;q=1", "application/json"];
    let mut fields = String::new();
    for (name, value) in [("x-version", random.of(&versions)), ("accept", random.of(&accepted))] {
        if !value.is_empty() {
            fields += &format!("{name}: {value}\r\n");
        }
    }
    Sent {
        method: random.of(&methods),
        host: random.of(&hosts),
        path: random.of(&paths),
        query: random.of(&queries),
        fields,
    }
}

/// Creates the load balancer in MiniStack, and describes it in files of a directory.
fn describe(endpoint: &str, groups: &[(&str, &Backend)]) -> Option<PathBuf> {
    let python = std::env::var("MINISTACK_PYTHON").unwrap_or_else(|_| "python3".into());
    let has_botocore = Command::new(&python).args(["-c", "import botocore"]).output();
    if !has_botocore.is_ok_and(|output| output.status.success()) {
        println!("skipped: {python} has no botocore; see .ci/ministack");
        return None;
    }
    let directory = directory("ministack");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("alb/python/ministack.py");
    let groups = groups.iter().map(|(name, backend)| format!("{name}={}", backend.address.port()));
    let mut command = Command::new(&python);
    command.arg(script).arg(endpoint).arg(&directory).args(groups);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(directory.join("bindings.toml"), "[listen]\n80 = [\"127.0.0.1:0\"]\n").unwrap();
    Some(directory)
}

async fn named(name: &'static str) -> Backend {
    Backend::answering(move |_| {
        let response = Response::builder().header("content-type", "text/x-target");
        ready(response.body(Full::new(Bytes::from_static(name.as_bytes()))).unwrap())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rules_of_ministack_do_the_same_here() {
    let Ok(endpoint) = std::env::var("MINISTACK_ENDPOINT") else {
        println!("skipped: MINISTACK_ENDPOINT is not set; see .ci/ministack");
        return;
    };
    let (blue, green) = (named("blue").await, named("green").await);
    let Some(directory) = describe(&endpoint, &[("blue", &blue), ("green", &green)]) else {
        return;
    };
    let config = Config::from_dir(&directory).unwrap_or_else(|error| panic!("{error}"));
    // MiniStack describes nothing that this load balancer does not support.
    let checked = Check::new().check(&config).unwrap_or_else(|error| panic!("{error}"));
    let builder =
        LoadBalancer::builder(checked).crypto_provider(Arc::new(ring::default_provider()));
    let running = Running::of(builder);

    let uri: Uri = endpoint.parse().unwrap();
    let there = uri.authority().unwrap().as_str().parse().unwrap();
    let mut random = Random(7);
    let (mut verdicts, mut unexplained) = (BTreeMap::<_, Vec<_>>::new(), Vec::new());
    for _ in 0..REQUESTS {
        let sent = generate(&mut random);
        let mut here = Outcome::of(running.at(80), sent.bytes("")).await;
        let of_ministack =
            async |sent: &Sent| Outcome::of(there, sent.bytes("/_alb/differential")).await;
        let mut seen = of_ministack(&sent).await;
        let difference = format!("{sent}\n  here  {here:?}\n  there {seen:?}");
        let mut explained = sent.explains(&here, &seen);
        if explained == Some(Verdict::HostCase) {
            // It has to be the only difference.
            let host = sent.host.to_lowercase();
            let lower = Sent { host: host.leak(), ..sent.clone() };
            seen = of_ministack(&lower).await;
            here.location = here.location.map(|url| url.replace(sent.host, lower.host));
            if here != seen {
                explained = lower.explains(&here, &seen);
            }
        }
        match explained {
            Some(verdict) => verdicts.entry(verdict).or_default().push(difference),
            None => unexplained.push(difference),
        }
    }
    for (verdict, differences) in &verdicts {
        println!("{verdict:?}: {}", differences.len());
        if *verdict != Verdict::Same {
            println!("  {}", differences[0]);
        }
    }
    assert!(unexplained.is_empty(), "{}\n{}", unexplained.len(), unexplained.join("\n"));
    // Most are equal, and each rule is reached.
    assert!(verdicts[&Verdict::Same].len() > REQUESTS / 2);
    let rules = &running.balancer.status().listeners[0].rules;
    let unused: Vec<_> = rules.rules.iter().filter(|rule| rule.matched == 0).collect();
    assert!(unused.is_empty(), "{unused:?}");
}
