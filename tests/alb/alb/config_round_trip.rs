//! A configuration that is written and read again is equal.

use proptest::{collection::vec, option, prelude::*};
use tower_lb::alb::config::{
    Action, Condition, Config, FixedResponse, Forward, HeaderCondition, Listener, Patterns,
    QueryPattern, Redirect, Rewrite, Rule, Target, TargetGroup, Time, Transforms, WeightedGroup,
};

use crate::config_import::data;

fn round_trip(config: &Config) {
    let toml = config.to_toml().unwrap();
    assert_eq!(Config::from_toml(&toml).unwrap(), *config, "{toml}");
    let json = config.to_json().unwrap();
    assert_eq!(Config::from_json(&json).unwrap(), *config, "{json}");
    // JSON is YAML.
    assert_eq!(Config::from_yaml(&json).unwrap(), *config, "{json}");
}

#[test]
fn an_import_survives_toml_and_json() {
    let config = Config::from_dir(data("ministack")).unwrap();
    round_trip(&config);
    round_trip(&Config::default());
}

#[test]
fn yaml() {
    let config = Config::from_yaml(
        "listeners:\n  - port: 80\n    default_action: { forward: web }\n\
         target_groups:\n  - name: web\n    targets: [\"10.0.0.1:80\"]\n",
    )
    .unwrap();
    assert_eq!(config.listeners[0].default_action, Action::forward("web"));
    let problems = Config::from_yaml("listeners:\n  - prt: 80\n").unwrap_err().to_string();
    assert!(problems.starts_with("`line 2, column 5`: expected a valid document:"), "{problems}");
    assert!(!problems.ends_with("column 5"), "{problems}");
}

/// A file with every key, so that each has been read once.
#[test]
fn a_full_file_survives() {
    let config = Config::from_file(data("full.toml")).unwrap();
    config.check().unwrap();
    round_trip(&config);
}

/// An expression without newlines at its ends, which every format keeps.
fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

fn patterns() -> impl Strategy<Value = Patterns> {
    (vec(text(), 0..3), vec(text(), 0..3)).prop_map(|(values, regex)| Patterns { values, regex })
}

fn condition() -> impl Strategy<Value = Condition> {
    let pair = (option::of(text()), text()).prop_map(|(key, value)| QueryPattern { key, value });
    prop_oneof![
        patterns().prop_map(Condition::Host),
        patterns().prop_map(Condition::Path),
        (text(), patterns())
            .prop_map(|(name, value)| Condition::Header(HeaderCondition { name, value })),
        vec(pair, 0..3).prop_map(Condition::Query),
        vec(text(), 0..3).prop_map(Condition::Method),
        vec(text(), 0..3).prop_map(Condition::SourceIp),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let group = (text(), 0..1000_u32).prop_map(|(group, weight)| WeightedGroup::new(group, weight));
    let forward = (vec(group, 0..4), option::of(0..700_000_u64)).prop_map(|(groups, time)| {
        Action::Forward(Forward { groups, stickiness: time.map(Time::from_secs) })
    });
    let part = || option::of(text());
    let redirect = (part(), part(), part(), part(), part(), 300..304_u16).prop_map(
        |(protocol, host, port, path, query, status)| {
            Action::Redirect(Redirect { protocol, host, port, path, query, status })
        },
    );
    let fixed = (0..1000_u16, part(), part()).prop_map(|(status, content_type, body)| {
        Action::FixedResponse(FixedResponse { status, content_type, body })
    });
    prop_oneof![forward, redirect, fixed]
}

fn rule() -> impl Strategy<Value = Rule> {
    let rewrite =
        || option::of((text(), text()).prop_map(|(regex, replace)| Rewrite { regex, replace }));
    let transforms = (rewrite(), rewrite()).prop_map(|(host, url)| Transforms { host, url });
    (option::of(0..60_000_u32), vec(condition(), 0..4), transforms, action()).prop_map(
        |(priority, conditions, transforms, action)| Rule {
            priority,
            transforms,
            ..Rule::new(conditions, action)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_configuration_survives(
        rules in vec(rule(), 0..4),
        targets in vec((text(), any::<Option<u16>>(), option::of(text())), 0..4),
        action in action(),
        time in any::<u32>(),
    ) {
        let mut listener = Listener::new(80);
        (listener.rules, listener.default_action) = (rules, action);
        let mut group = TargetGroup::new("g");
        group.targets =
            targets.into_iter().map(|(id, port, zone)| Target { id, port, zone }).collect();
        let mut config =
            Config { listeners: vec![listener], target_groups: vec![group], ..Config::default() };
        config.load_balancer.attributes.idle_timeout = Time::from_secs(time.into());
        round_trip(&config);
        // Nonsense is rejected and never panics.
        let _ = config.check();
    }

    #[test]
    fn garbage_never_panics(text in "\\PC{0,200}") {
        let _ = Config::from_toml(&text);
        let _ = Config::from_json(&text);
        let _ = tower_lb::alb::config::Import::new().file("a.json", &text).finish();
    }
}
