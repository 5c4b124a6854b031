//! Lists of endpoints as documents: what they say, what is rejected and where, and nothing panics.
use std::net::SocketAddr;

use proptest::{prelude::*, test_runner::RngSeed};
use tower_lb::{
    ParseError,
    discover::{Format, parse_document},
    endpoint::{Endpoint, Health, Locality},
};

const FORMATS: [Format; 3] = [Format::Json, Format::Toml, Format::Yaml];

fn parse(text: &str, format: Format) -> Result<Vec<(String, Endpoint<SocketAddr>)>, ParseError> {
    parse_document(text, format)
}

const JSON: &str = r#"{
  "endpoints": [
    "10.0.0.1:80",
    {
      "address": "10.0.0.2:80", "name": "b", "weight": 5, "tier": 1, "region": "eu", "zone": "eu-a",
      "health": "draining", "reason": "deploy", "metadata": { "version": "2.4" }
    }
  ]
}"#;

const TOML: &str = r#"
[[endpoints]]
address = "10.0.0.1:80"

[[endpoints]]
address = "10.0.0.2:80"
name = "b"
weight = 5
tier = 1
region = "eu"
zone = "eu-a"
health = "draining"
reason = "deploy"
metadata = { version = "2.4" }
"#;

const YAML: &str = "
endpoints:
  - 10.0.0.1:80
  - address: 10.0.0.2:80
    name: b
    weight: 5
    tier: 1
    region: eu
    zone: eu-a
    health: draining
    reason: deploy
    metadata:
      version: '2.4'
";

#[test]
fn a_byte_order_mark_is_ignored() {
    for (text, format) in [JSON, TOML, YAML].into_iter().zip(FORMATS) {
        assert_eq!(
            parse(&format!("\u{feff}{text}"), format).unwrap(),
            parse(text, format).unwrap()
        );
    }
}

#[test]
fn an_address_that_is_none_is_left_out_and_all_of_them_are_an_error() {
    let text = r#"{"endpoints": ["10.0.0.1:0", {"address": "[fe80::1%eth0]:80", "name": "z"},
        "[fe80::1%3]:80", {"address": "10.0.0.2:80", "name": "b"}]}"#;
    let endpoints = parse(text, Format::Json).unwrap();
    let found: Vec<_> = endpoints.iter().map(|(key, one)| (&**key, one.target().port())).collect();
    assert_eq!(found, [("[fe80::1%3]:80", 80), ("b", 80)]);
    let strings = parse_document::<String>(r#"{"endpoints": ["a:0", "b:80"]}"#, Format::Json);
    assert_eq!(strings.unwrap().len(), 1);
    let error = parse(r#"{"endpoints": ["10.0.0.1:0"]}"#, Format::Json).unwrap_err().to_string();
    assert!(error.contains("none of 1 endpoints is usable"), "{error}");
}

#[test]
fn all_formats_say_the_same() {
    let (a, b): (SocketAddr, SocketAddr) =
        ("10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
    let second = Endpoint::new(b)
        .with_weight(5)
        .with_tier(1)
        .with_locality(Locality::new("eu", "eu-a"))
        .with_health(Health::draining("deploy"))
        .with_metadata("version", "2.4");
    let expected = vec![("10.0.0.1:80".to_owned(), Endpoint::new(a)), ("b".to_owned(), second)];
    for (text, format) in [JSON, TOML, YAML].into_iter().zip(FORMATS) {
        assert_eq!(parse(text, format).unwrap(), expected, "{format:?}");
    }
    for (text, format) in
        ["{\"endpoints\": []}", "endpoints = []", "endpoints: []"].into_iter().zip(FORMATS)
    {
        assert_eq!(parse(text, format).unwrap(), [], "an explicit nothing");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    use Format::{Json, Toml, Yaml};
    for (format, text, line, says) in [
        (Json, "", 1, "EOF"),
        (Toml, "", 1, "missing field `endpoints`"),
        (Json, "{\n\"endpoints\": [\n\"10.0.0.1\"]}", 3, "the address \"10.0.0.1\""),
        (Toml, "endpoints = [\n\"10.0.0.1\"]", 2, "the address \"10.0.0.1\""),
        (Yaml, "endpoints:\n  - '10.0.0.1'", 2, "the address \"10.0.0.1\""),
        (Json, "{\"endpoints\": [\n\"10.0.0.1:1\",\n\"10.0.0.1:1\"]}", 3, "occurs twice"),
        (Toml, "endpoints = [\n\"10.0.0.1:1\",\n\"10.0.0.1:1\"]", 3, "occurs twice"),
        (Yaml, "endpoints:\n- 10.0.0.1:1\n- 10.0.0.1:1\n", 3, "occurs twice"),
        (Toml, "[[endpoints]]\naddress = \"10.0.0.1:1\"\nwieght = 3", 3, "unknown field `wieght`"),
        (Toml, "[[endpoints]]\nweight = -1\naddress = \"10.0.0.1:1\"", 2, "invalid value"),
        (Yaml, "endpoints:\n  - address: 10.0.0.1:1\n    weight: 99999999999", 3, ""),
        (Json, "{\"endpoints\": [\n{\"weight\": 1}]}", 2, "missing field `address`"),
        (Json, "{\"endpoints\": [\n7]}", 2, "an address or a table"),
        (Toml, "endpoints = [\n  \"a\"\n  \"b\"]", 3, ""),
        (
            Json,
            "{\"endpoints\": [\n{\"address\": \"10.0.0.1:1\", \"health\": \"so so\"}]}",
            2,
            "so so",
        ),
    ] {
        let error = parse(text, format).unwrap_err();
        assert!(error.to_string().contains(says), "{format:?} {text:?}: {error}");
        assert_eq!(error.line(), Some(line), "{format:?} {text:?}: {error}");
    }
}

#[test]
fn a_hundred_thousand_endpoints_are_read() {
    let addresses: Vec<_> =
        (0..100_000).map(|n| format!("10.{}.{}.{}:80", n >> 16, (n >> 8) & 255, n & 255)).collect();
    let list = |before: &str, quote: &str, after: &str| {
        let entries =
            addresses.iter().map(|address| format!("{before}{quote}{address}{quote}{after}"));
        entries.collect::<String>()
    };
    let json = list("{\"weight\":2,\"address\":", "\"", "},");
    let json = format!("{{\"endpoints\":[{}]}}", json.trim_end_matches(','));
    let toml = list("[[endpoints]]\nweight = 2\naddress = ", "\"", "\n");
    let yaml = format!("endpoints:\n{}", list("- weight: 2\n  address: ", "", "\n"));
    for (text, format) in [json, toml, yaml].iter().zip(FORMATS) {
        let parsed = parse(text, format);
        let parsed = parsed.unwrap_or_else(|error| panic!("{format:?}: {error}"));
        assert_eq!((parsed.len(), parsed[7].1.weight()), (100_000, 2));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in "\\PC*") {
        for format in FORMATS {
            let _ = parse(&text, format);
        }
    }

    /// Documents that are nearly right, with a piece cut out and another put in.
    #[test]
    fn no_damaged_document_panics(at in 0_usize..400, cut in 0_usize..20, piece in "[\\[\\]{}\":,='\\n #&*!|>0-9a-z-]{0,6}") {
        for (text, format) in [JSON, TOML, YAML].into_iter().zip(FORMATS) {
            let chars: Vec<char> = text.chars().collect();
            let at = at.min(chars.len());
            let after = (at + cut).min(chars.len());
            let damaged: String =
                chars[..at].iter().copied().chain(piece.chars()).chain(chars[after..].iter().copied()).collect();
            if let Err(error) = parse(&damaged, format) {
                let lines = damaged.lines().count().max(1) + 1;
                prop_assert!(error.line().is_none_or(|line| line <= lines), "{error}");
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
