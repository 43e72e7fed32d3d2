//! Certificates: both ends prove who they are.

use std::path::Path;

use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use super::settings::{GrpcSettings, TlsFiles};

/// Why a transport did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrpcError {
    /// A file of the certificates cannot be read. Check the path and its permissions.
    #[error("cannot read {file}: {cause}")]
    File {
        /// Its path.
        file: String,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The certificates cannot be used. The files must be PEM, and the key must be the
    /// certificate's.
    #[error("these certificates cannot be used: {0}")]
    Certificates(String),
    /// The address cannot be listened on. Choose another one, or end what listens there.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        cause: std::io::Error,
    },
}

/// What the files hold.
struct Loaded {
    authority: Certificate,
    identity: Identity,
}

fn load(files: &TlsFiles) -> Result<Loaded, GrpcError> {
    let authority = Certificate::from_pem(read(&files.authority)?);
    let identity = Identity::from_pem(read(&files.certificate)?, read(&files.key)?);
    Ok(Loaded { authority, identity })
}

fn read(path: &Path) -> Result<Vec<u8>, GrpcError> {
    std::fs::read(path).map_err(|cause| GrpcError::File { file: path.display().to_string(), cause })
}

/// What a client checks and shows; `None` without certificates.
pub(super) fn client(settings: &GrpcSettings) -> Result<Option<ClientTlsConfig>, GrpcError> {
    let Some(files) = &settings.tls else { return Ok(None) };
    let Loaded { authority, identity } = load(files)?;
    let tls = ClientTlsConfig::new()
        .ca_certificate(authority)
        .identity(identity)
        .timeout(settings.connect_timeout);
    Ok(Some(match &files.name {
        Some(name) => tls.domain_name(name),
        None => tls,
    }))
}

/// What a server checks and shows; `None` without certificates.
pub(super) fn server(settings: &GrpcSettings) -> Result<Option<ServerTlsConfig>, GrpcError> {
    let Some(files) = &settings.tls else { return Ok(None) };
    let Loaded { authority, identity } = load(files)?;
    let tls = ServerTlsConfig::new().identity(identity).client_ca_root(authority);
    Ok(Some(tls.timeout(settings.connect_timeout)))
}
