//! TLS with rustls: certificates and keys from files, read again when they change, and what went
//! wrong in words.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::connect::Trouble;
use crate::plan::tls::{Identity, ListenTls, ServiceTls};

/// How often files are looked at again.
pub const AGAIN: Duration = Duration::from_secs(2);

const H1: &[u8] = b"http/1.1";
const H2: &[u8] = b"h2";

/// What files say; two readings that are equal need no second look.
type Read = Vec<Vec<u8>>;

/// The files of an identity and a CA, as they are now.
fn read(identity: Option<&Identity>, ca: Option<&Path>) -> Result<Read, String> {
    let files = identity.iter().flat_map(|identity| [&*identity.cert, &*identity.key]).chain(ca);
    files
        .map(|path| fs::read(path).map_err(|error| format!("{}: {error}", path.display())))
        .collect()
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!("{}: no certificate in PEM", path.display())),
    }
}

fn key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| format!("{}: no private key in PEM", path.display()))
}

fn roots(mut roots: RootCertStore, ca: Option<(&Path, &[u8])>) -> Result<RootCertStore, String> {
    if let Some((path, pem)) = ca {
        for certificate in certificates(path, pem)? {
            let added = roots.add(certificate);
            added.map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(roots)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What callers are served with, and the files it came from.
#[derive(Debug)]
pub struct Served {
    read: Read,
    pub config: Arc<ServerConfig>,
}

impl Served {
    /// Reads the files. `before`: what they said last; `None` when they say the same still.
    pub fn load(tls: &ListenTls, before: Option<&Self>) -> Result<Option<Self>, String> {
        let read = read(Some(&tls.identity), tls.client_ca.as_deref())?;
        if before.is_some_and(|before| before.read == read) {
            return Ok(None);
        }
        let chain = certificates(&tls.identity.cert, &read[0])?;
        let key = key(&tls.identity.key, &read[1])?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match &tls.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = roots(RootCertStore::empty(), Some((path, &read[2])))?;
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
                let verifier = verifier.build().map_err(|error| error.to_string())?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            let Identity { cert, key } = &tls.identity;
            format!("{} and {}: {error}", cert.display(), key.display())
        })?;
        config.alpn_protocols = vec![H2.to_vec(), H1.to_vec()];
        Ok(Some(Self { read, config: config.into() }))
    }
}

/// How a service is spoken to.
#[derive(Debug)]
struct Spoken {
    read: Read,
    h1: Arc<ClientConfig>,
    h2: Arc<ClientConfig>,
}

impl Spoken {
    fn load(tls: &ServiceTls, before: Option<&Self>) -> Result<Option<Self>, String> {
        let read = read(tls.identity.as_ref(), tls.ca.as_deref())?;
        if before.is_some_and(|before| before.read == read) {
            return Ok(None);
        }
        let mut known = RootCertStore::empty();
        // What of the system's cannot be read vouches for nobody; that alone is no reason to stop.
        known.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let ca = tls.ca.as_deref().and_then(|path| Some((path, read.last()?.as_slice())));
        let known = roots(known, ca)?;
        if known.is_empty() {
            return Err("nobody vouches for it: the system knows no CA, and `ca` names none".into());
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(known.into(), provider());
        let verifier = verifier.build().map_err(|error| error.to_string())?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_webpki_verifier(verifier);
        let mut h1 = match &tls.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = certificates(&identity.cert, &read[0])?;
                let key = key(&identity.key, &read[1])?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| format!("{}: {error}", identity.cert.display()))?
            }
        };
        let mut h2 = h1.clone();
        h1.alpn_protocols = vec![H1.to_vec()];
        h2.alpn_protocols = vec![H2.to_vec()];
        Ok(Some(Self { read, h1: h1.into(), h2: h2.into() }))
    }
}

/// Whether a service can be spoken to at all; for the start, which should not wait for the first
/// request to find out.
pub fn check(tls: &ServiceTls) -> Result<(), String> {
    Spoken::load(tls, None).map(|_| ())
}

/// How services are spoken to, by service; a worker's own.
#[derive(Debug, Default)]
pub struct Services(RefCell<Vec<Option<Known>>>);

#[derive(Debug, Clone)]
struct Known {
    tls: Arc<ServiceTls>,
    at: Instant,
    spoken: Arc<Spoken>,
}

impl Services {
    /// A connection to a service, made secure.
    pub async fn secure(
        &self,
        id: usize,
        tls: &Arc<ServiceTls>,
        h2: bool,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Trouble> {
        let spoken = self.spoken(id, tls).await?;
        let config = if h2 { &spoken.h2 } else { &spoken.h1 };
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
        let stream = connector
            .connect(tls.server_name.clone(), stream)
            .await
            .map_err(|error| Trouble::Tls(label(&error)))?;
        if h2 && stream.get_ref().1.alpn_protocol() != Some(H2) {
            return Err(Trouble::Tls("tls_without_h2"));
        }
        Ok(stream)
    }

    async fn spoken(&self, id: usize, tls: &Arc<ServiceTls>) -> Result<Arc<Spoken>, Trouble> {
        let now = crate::clock::now();
        let known = self.0.borrow().get(id).cloned().flatten();
        // A reload may have given the id to another service.
        let known = known.filter(|known| known.tls == *tls);
        if let Some(known) = &known
            && now.saturating_duration_since(known.at) < AGAIN
        {
            return Ok(Arc::clone(&known.spoken));
        }
        let (asked, before) = (Arc::clone(tls), known.map(|known| known.spoken));
        // Reading files and the system's roots may take a while; requests go on meanwhile.
        let loaded = tokio::task::spawn_blocking(move || {
            let loaded = Spoken::load(&asked, before.as_deref());
            (loaded, before)
        });
        let spoken = match loaded.await.map_err(|_| Trouble::Tls("tls_files"))? {
            (Ok(Some(new)), _) => Arc::new(new),
            (Ok(None), Some(before)) => before,
            // Half written, perhaps: what was good goes on.
            (Err(error), Some(before)) => {
                tracing::warn!(%error, "TLS files");
                before
            }
            (Err(error), None) => {
                tracing::warn!(%error, "TLS files");
                return Err(Trouble::Tls("tls_files"));
            }
            (Ok(None), None) => return Err(Trouble::Tls("tls_files")),
        };
        let mut all = self.0.borrow_mut();
        if all.len() <= id {
            all.resize_with(id + 1, || None);
        }
        all[id] = Some(Known { tls: Arc::clone(tls), at: now, spoken: Arc::clone(&spoken) });
        Ok(spoken)
    }
}

/// What is wrong with a service's TLS, as counted and as told.
fn label(error: &io::Error) -> &'static str {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(wrong)) => match wrong {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "tls_certificate_expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "tls_certificate_not_valid_yet"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "tls_certificate_for_another_name"
            }
            CertificateError::UnknownIssuer => "tls_certificate_of_unknown_issuer",
            CertificateError::Revoked => "tls_certificate_revoked",
            CertificateError::BadEncoding => "tls_certificate_malformed",
            CertificateError::BadSignature => "tls_certificate_bad_signature",
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "tls_certificate_for_another_use"
            }
            // As `openssl req -x509` makes them. The library has no variant for it.
            CertificateError::Other(other)
                if format!("{other:?}").contains("CaUsedAsEndEntity") =>
            {
                "tls_certificate_of_an_authority"
            }
            _ => "tls_certificate_invalid",
        },
        Some(rustls::Error::AlertReceived(alert)) => match alert {
            rustls::AlertDescription::CertificateRequired => "tls_certificate_required",
            rustls::AlertDescription::NoApplicationProtocol => "tls_without_h2",
            _ => "tls_refused",
        },
        Some(rustls::Error::InvalidMessage(_)) => "tls_not_spoken",
        None if error.kind() == io::ErrorKind::UnexpectedEof => "tls_closed_early",
        _ => "tls_failed",
    }
}

/// A caller's connection, made secure; and whether it is HTTP/2 then.
pub async fn accept(
    config: Arc<ServerConfig>,
    socket: super::conn::Socket,
) -> io::Result<(tokio_rustls::server::TlsStream<super::conn::Socket>, bool)> {
    let stream = tokio_rustls::TlsAcceptor::from(config).accept(socket).await?;
    let h2 = stream.get_ref().1.alpn_protocol() == Some(H2);
    Ok((stream, h2))
}
