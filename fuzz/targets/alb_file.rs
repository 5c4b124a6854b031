//! Hand-written configurations of an Application Load Balancer, in JSON and TOML.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_lb::alb::config::Config;

fuzz_target!(|text: &str| {
    if let Ok(config) = Config::from_json(text) {
        write_again(&config);
    }
    if let Ok(config) = Config::from_toml(text) {
        write_again(&config);
    }
});

/// What is written is read as an equal configuration, and has the same problems.
fn write_again(config: &Config) {
    let check = |config: &Config| config.check().map(|checked| checked.notes().to_vec());
    let problems = check(config);
    if let Ok(json) = config.to_json() {
        let again = Config::from_json(&json).expect("it was just written");
        assert_eq!(&again, config);
        assert_eq!(check(&again), problems);
    }
    // A number may not fit into TOML.
    if let Ok(toml) = config.to_toml() {
        assert_eq!(&Config::from_toml(&toml).expect("it was just written"), config);
    }
}
