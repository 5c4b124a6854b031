//! Documents of `aws elbv2 describe-*`, from which a configuration is imported.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_lb::alb::config::{Config, Import};

fuzz_target!(|text: &str| {
    // Each document begins with the name of its file; a NUL ends it.
    let mut import = Import::new();
    for document in text.split('\0') {
        let (name, json) = document.split_once('\n').unwrap_or(("listeners.json", document));
        import = import.file(name, json);
    }
    let Ok(config) = import.finish() else { return };
    let _ = config.check();
    // What is written is read as an equal configuration.
    let json = config.to_json().expect("the import has no path that is not UTF-8");
    assert_eq!(Config::from_json(&json).expect("it was just written"), config);
    if let Ok(toml) = config.to_toml() {
        assert_eq!(Config::from_toml(&toml).expect("it was just written"), config);
    }
});
