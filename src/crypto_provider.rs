//! The crypto provider of rustls, which the application selects.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use crate::ConfigError;

/// Returns the provider that was set, or that of the process.
pub(crate) fn or_process_default(
    provider: Option<Arc<CryptoProvider>>,
) -> Result<Arc<CryptoProvider>, ConfigError> {
    provider.or_else(|| CryptoProvider::get_default().cloned()).ok_or_else(|| {
        let expected = "a rustls provider, such as `rustls::crypto::ring::default_provider()`, \
                        set here or by `install_default`";
        ConfigError::new("crypto_provider", expected)
    })
}
