use std::sync::Arc;

use http::HeaderName;
use tower_layer::Layer;

use super::{
    names::{Names, TlsField},
    service::{Settings, TlsFields},
};
use crate::ConfigError;

/// Wraps services in [`TlsFields`].
#[derive(Clone, Debug)]
pub struct TlsFieldsLayer {
    settings: Arc<Settings>,
}

impl TlsFieldsLayer {
    /// Returns the default settings.
    #[must_use]
    pub fn builder() -> TlsFieldsBuilder {
        TlsFieldsBuilder::default()
    }
}

impl<S> Layer<S> for TlsFieldsLayer {
    type Service = TlsFields<S>;

    fn layer(&self, inner: S) -> TlsFields<S> {
        TlsFields::new(inner, Arc::clone(&self.settings))
    }
}

/// Configures a [`TlsFieldsLayer`].
#[derive(Clone, Debug, Default)]
pub struct TlsFieldsBuilder {
    version_and_cipher_suite: bool,
    renamed: Vec<(TlsField, HeaderName)>,
}

impl TlsFieldsBuilder {
    setters! {
        /// Sets whether [`TlsField::Version`] and [`TlsField::CipherSuite`] are written. Default
        /// `false`.
        pub fn version_and_cipher_suite(written: bool) => version_and_cipher_suite = written;
    }

    /// Writes a field under another name. Clients can send neither the new name nor the default
    /// one. Default [`TlsField::default_name`].
    #[must_use]
    pub fn rename(mut self, field: TlsField, name: HeaderName) -> Self {
        self.renamed.push((field, name));
        self
    }

    /// Returns the layer.
    ///
    /// # Errors
    ///
    /// If two fields have the same name, or if a name has another meaning in a request: a field of
    /// HTTP or of a connection, `Forwarded`, `X-Forwarded-…`, `X-Real-IP`, `X-Amzn-Trace-Id`,
    /// `X-Amzn-Oidc-…`. Names are the same if only `-` and other separators differ.
    pub fn build(self) -> Result<TlsFieldsLayer, ConfigError> {
        let names = Names::new(&self.renamed)?;
        let settings = Settings { names, version_and_cipher_suite: self.version_and_cipher_suite };
        Ok(TlsFieldsLayer { settings: Arc::new(settings) })
    }
}
