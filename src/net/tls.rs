//! The configuration of all TLS connections: the certificate authorities of the platform and of `http.ca_file`, and the client
//! certificate.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use rustls_platform_verifier::Verifier;

use super::NetworkError;
use crate::settings::NetworkSettings;

/// The configuration of all TLS connections.
///
/// # Errors
/// A file of the settings that can't be read or used. A platform without authorities is not an error here: only TLS connections
/// fail. Plain http and the demo then work in an image without CA certificates.
pub(crate) fn client_config(network: &NetworkSettings) -> Result<ClientConfig, NetworkError> {
    let provider = Arc::new(ring::default_provider());
    let own_authorities = match &network.ca_file {
        Some(path) => authorities(path)?,
        None => Vec::new(),
    };
    let failed = |error: rustls::Error| NetworkError::Client(error.to_string());
    let verifier = Authorities { provider: provider.clone(), own_authorities, verifier: OnceLock::new() };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let Some(files) = &network.client_certificate else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates("http.client_cert", &files.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&read("http.client_key", &files.key)?)
        .map_err(|error| invalid("http.client_key", &files.key, format!("it has no private key in PEM: {error}")))?;
    ring::sign::any_supported_type(&key).map_err(|error| invalid("http.client_key", &files.key, format!("not a usable key: {error}")))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| invalid("http.client_cert", &files.certificate, format!("it does not match http.client_key: {error}")))
}

fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, NetworkError> {
    let authorities = certificates("http.ca_file", path)?;
    let mut store = RootCertStore::empty();
    for authority in &authorities {
        store.add(authority.clone()).map_err(|error| invalid("http.ca_file", path, format!("not a usable certificate: {error}")))?;
    }
    Ok(authorities)
}

fn certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, NetworkError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(setting, path)?).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(invalid(setting, path, "it has no certificate in PEM (-----BEGIN CERTIFICATE-----)".into())),
        Err(error) => Err(invalid(setting, path, format!("its PEM is invalid: {error}"))),
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, NetworkError> {
    std::fs::read(path).map_err(|error| invalid(setting, path, error.to_string()))
}

fn invalid(setting: &'static str, path: &Path, detail: String) -> NetworkError {
    NetworkError::File { setting, path: path.to_owned(), detail }
}

/// Verifies servers. Reads the authorities of the platform at the first certificate of a server.
#[derive(Debug)]
struct Authorities {
    provider: Arc<CryptoProvider>,
    own_authorities: Vec<CertificateDer<'static>>,
    verifier: OnceLock<Result<Verifier, String>>,
}

impl Authorities {
    fn verifier(&self) -> Result<&Verifier, rustls::Error> {
        let made = self.verifier.get_or_init(|| {
            Verifier::new_with_extra_roots(self.own_authorities.iter().cloned(), self.provider.clone()).map_err(|error| error.to_string())
        });
        made.as_ref().map_err(|error| {
            rustls::Error::General(format!(
                "this machine has no CA certificates to verify the server with: install them (ca-certificates), or set http.ca_file ({error})"
            ))
        })
    }
}

impl ServerCertVerifier for Authorities {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier()?.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::ClientCertificate;

    fn refusal(network: &NetworkSettings) -> String {
        client_config(network).unwrap_err().to_string()
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_its_setting() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let missing = NetworkSettings { ca_file: Some(folder.path().join("none.pem")), ..NetworkSettings::default() };
        assert!(refusal(&missing).contains("http.ca_file") && refusal(&missing).contains("none.pem"));
        let empty = NetworkSettings { ca_file: Some(at("ca.pem", "no certificate")), ..NetworkSettings::default() };
        assert!(refusal(&empty).contains("has no certificate"), "{}", refusal(&empty));
        let own = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
        let (certificate, key) = (at("client.pem", &own.cert.pem()), at("client.key", &own.signing_key.serialize_pem()));
        let with = |certificate: &Path, key: &Path| NetworkSettings {
            client_certificate: Some(ClientCertificate { certificate: certificate.to_owned(), key: key.to_owned() }),
            ..NetworkSettings::default()
        };
        assert!(client_config(&with(&certificate, &key)).is_ok());
        assert!(refusal(&with(&certificate, &at("x.key", ""))).contains("http.client_key"));
        let damaged = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(refusal(&with(&certificate, &at("y.key", damaged))).contains("y.key"));
        let other = rcgen::generate_simple_self_signed(["other".to_owned()]).unwrap();
        let other = at("other.key", &other.signing_key.serialize_pem());
        assert!(refusal(&with(&certificate, &other)).contains("does not match"), "{}", refusal(&with(&certificate, &other)));
    }
}
