use schemars::generate::SchemaSettings;

use crate::alb::config::Config;

impl Config {
    /// Returns the JSON schema (2020-12) of hand-written files. Editors use it to complete and to
    /// check them.
    #[must_use]
    pub fn json_schema() -> serde_json::Value {
        let generator = SchemaSettings::draft2020_12().into_generator();
        generator.into_root_schema_for::<Self>().to_value()
    }
}
