//! `docs/alb.schema.json` is the schema of the present types.

use std::{env, fs, path::PathBuf};

use serde_json::Value;
use tower_lb::alb::config::Config;

/// Set this variable to write the file instead.
const WRITE: &str = "TOWER_LB_WRITE_SCHEMA";

#[test]
fn the_schema_is_current() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/alb.schema.json");
    let schema = Config::json_schema();
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    if env::var_os(WRITE).is_some() {
        fs::write(&path, &text).unwrap();
    }
    let file = fs::read_to_string(&path).unwrap_or_default();
    assert!(file == text, "{} is outdated: run this test with {WRITE}=1", path.display());
}

/// Every field has a description: the doc comment of the type's field.
#[test]
fn every_field_is_described() {
    fn walk(value: &Value, path: &str, missing: &mut Vec<String>) {
        if let Some(properties) = value.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                // Tags of enumerations and their variants are described by the variant.
                let is_variant = property.get("const").is_some();
                if property.get("description").is_none() && !is_variant {
                    missing.push(format!("{path}.{name}"));
                }
            }
        }
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(name, it)| walk(it, &format!("{path}.{name}"), missing));
            }
            Value::Array(items) => items.iter().for_each(|it| walk(it, path, missing)),
            _ => {}
        }
    }
    let mut missing = Vec::new();
    walk(&Config::json_schema(), "", &mut missing);
    // The variant of an enumeration is one property, whose enclosing object has the description.
    missing.retain(|path| !path.contains(".oneOf.") && !path.contains("oneOf"));
    assert!(missing.is_empty(), "{missing:#?}");
}
