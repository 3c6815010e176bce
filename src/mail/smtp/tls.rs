//! The certificates that a mail server's TLS is checked against.

use std::path::Path;

use lettre::transport::smtp::client::{Certificate, CertificateStore, TlsParameters};

use super::trouble::innermost;
use crate::mail::MailSetupError;

/// TLS to `host`, whose certificate must be signed by one in `ca_file`, or by a built-in root if
/// there is no such file.
pub(super) fn tls_parameters(
    host: &str,
    ca_file: Option<&Path>,
) -> Result<TlsParameters, MailSetupError> {
    let builder = TlsParameters::builder(host.to_owned());
    let builder = match ca_file {
        None => builder.certificate_store(CertificateStore::WebpkiRoots),
        Some(path) => builder
            .certificate_store(CertificateStore::None)
            .add_root_certificate(read_certificates(path)?),
    };
    builder.build().map_err(|error| match ca_file {
        Some(path) => {
            MailSetupError::Certificates { path: path.to_owned(), problem: innermost(&error) }
        }
        None => MailSetupError::Tls { problem: innermost(&error) },
    })
}

fn read_certificates(path: &Path) -> Result<Certificate, MailSetupError> {
    let certificates = |problem: &str| MailSetupError::Certificates {
        path: path.to_owned(),
        problem: problem.to_owned(),
    };
    let pem = std::fs::read_to_string(path)
        .map_err(|source| MailSetupError::Unreadable { path: path.to_owned(), source })?;
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        return Err(certificates("it holds no certificate in PEM"));
    }
    Certificate::from_pem(pem.as_bytes()).map_err(|error| certificates(&innermost(&error)))
}
