use crate::ConfigError;

/// Returns `value` if it is a share from 0 to 1.
pub(crate) fn share(name: &'static str, value: f64) -> Result<f64, ConfigError> {
    ConfigError::unless_within(name, value, [0.0, 1.0])?;
    Ok(value)
}
