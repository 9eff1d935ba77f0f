//! The one provider of cryptography that every connection of the process uses, and who is trusted: the platform's authorities.

use std::sync::Once;

static PROVIDER: Once = Once::new();

/// Makes ring the provider of all TLS. Before the first client is built; again is as good.
pub(crate) fn install_provider() {
    PROVIDER.call_once(|| {
        // An error says that a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
