//! No secret of a file is repeated by an error, whatever stands in its place.

use tower_lb::alb::config::{Config, Problems};

/// What the tests look for in errors.
const SECRET: &str = "48151623";

/// What a user may write in the place of a secret, as JSON, which is YAML too.
fn mistakes() -> Vec<String> {
    let (number, text) = (SECRET, format!("\"{SECRET}\""));
    let mut values = vec![
        text.clone(),
        number.to_owned(),
        format!("-{number}"),
        format!("{number}.5"),
        format!("[{number}]"),
        format!("[{text}, true]"),
        format!("{{\"value\": {text}}}"),
        format!("{{\"{SECRET}\": \"a\"}}"),
    ];
    for key in ["env", "file", "program", "secret"] {
        values.push(format!("{{\"{key}\": {number}}}"));
        values.push(format!("{{\"{key}\": [{text}]}}"));
        values.push(format!("{{\"{key}\": {{\"other\": {text}}}}}"));
        values.push(format!("{{\"{key}\": \"a\", \"other\": {text}}}"));
    }
    values
}

/// Values that contain no secret and are none.
const NONSENSE: [&str; 4] = ["true", "{}", "[]", "{\"env\": true}"];

/// The documents that have `value` in the place of a secret, in JSON.
fn documents(value: &str) -> [String; 4] {
    [
        format!("{{\"bindings\": {{\"cookie_secret\": {value}}}}}"),
        format!("{{\"bindings\": {{\"client_secrets\": {{\"shop\": {value}}}}}}}"),
        format!("{{\"bindings\": {{\"client_secrets\": {value}}}}}"),
        // A field that does not exist.
        format!("{{\"bindings\": {{\"client_secret\": {value}}}}}"),
    ]
}

/// Rewrites a JSON document of tables, lists, texts and numbers as an inline table of TOML.
fn to_toml(json: &str) -> String {
    let inline = json.replace("\": ", "\" = ");
    let inner = inline.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap();
    inner.to_owned()
}

#[track_caller]
fn hides(what: &str, result: Result<Config, Problems>) {
    let problems = result.expect_err(what);
    let shown = format!("{problems} {problems:?}");
    assert!(!shown.contains(SECRET), "{what}: {shown}");
}

#[test]
fn errors_do_not_repeat_secrets() {
    for value in mistakes().iter().map(String::as_str).chain(NONSENSE) {
        for json in documents(value) {
            // A table of sources with any names is valid.
            if json.contains("client_secrets\": {}") {
                continue;
            }
            hides(&json, Config::from_json(&json));
            hides(&json, Config::from_yaml(&json));
            let toml = to_toml(&json);
            hides(&toml, Config::from_toml(&toml));
            // Without the texts of this crate, too.
            let error = serde_json::from_str::<Config>(&json).unwrap_err().to_string();
            assert!(!error.contains(SECRET), "{json}: {error}");
        }
    }
}

#[test]
fn yaml_has_more_ways_to_write_a_secret() {
    for value in [
        SECRET,
        &format!("'{SECRET}'"),
        &format!("*a{SECRET}"),
        &format!("!{SECRET} a"),
        &format!("!!int {SECRET}"),
        &format!("&{SECRET} 1"),
        &format!("|\n      {SECRET}\n      {SECRET}"),
        &format!("{SECRET}: {SECRET}"),
        &format!("{{ {SECRET}: {SECRET} }}"),
        &format!("[{SECRET}"),
        &format!("\"{SECRET}"),
        &format!("0x{SECRET}"),
    ] {
        for yaml in [
            format!("bindings:\n  cookie_secret: {value}\n"),
            format!("bindings:\n  client_secrets:\n    shop: {value}\n"),
            format!("bindings:\n  client_secrets: {value}\n"),
        ] {
            hides(&yaml, Config::from_yaml(&yaml));
        }
    }
}

#[test]
fn toml_that_is_malformed_beside_a_secret() {
    for value in [
        format!("{SECRET}x"),
        format!("\"{SECRET}"),
        format!("'{SECRET}"),
        format!("\"{SECRET}\" {SECRET}"),
        format!("[{SECRET}"),
        format!("{{ env = {SECRET}"),
        format!("{SECRET}-{SECRET}"),
        format!("\"\\x{SECRET}\""),
    ] {
        let toml = format!("[bindings]\ncookie_secret = {value}\n");
        hides(&toml, Config::from_toml(&toml));
        let json = format!("{{\"bindings\": {{\"cookie_secret\": {value}}}}}");
        hides(&json, Config::from_json(&json));
    }
}

/// The text of a key in the place of its path would be shown when the file cannot be read.
#[test]
fn a_key_is_not_a_path() {
    let key = format!("-----BEGIN PRIVATE KEY-----\\n{SECRET}\\n-----END PRIVATE KEY-----");
    for toml in [
        format!("[bindings.certificates]\na = {{ certificate = \"a\", key = \"{key}\" }}"),
        format!(
            "[[listeners]]\nport = 443\ncertificates = [{{ certificate = \"a\", key = \"{key}\" }}]"
        ),
    ] {
        hides(&toml, Config::from_toml(&toml));
    }
}

/// A literal secret gets an error that says what to write.
#[test]
fn errors_say_what_to_write() {
    for (toml, expected) in [
        (
            "[bindings]\ncookie_secret = 48151623",
            "`line 2, column 17`: expected a valid document: a secret is not part of a \
             configuration: write a table with one of `env`, `file` and `program`",
        ),
        (
            "[bindings.client_secrets]\nshop = { env = \"A\" }\nother = [\"48151623\"]",
            "`line 3, column 9`: expected a valid document: a secret is not part of a configuration",
        ),
        (
            "[bindings]\nclient_secrets = 48151623",
            "expected a valid document: the secrets of clients are a table by the client's id",
        ),
    ] {
        let problems = Config::from_toml(toml).unwrap_err().to_string();
        assert!(problems.contains(expected), "{problems}");
    }
}
