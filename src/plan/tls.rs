//! TLS, compiled: which files, which name. What is in the files is known only when they are read.

use std::path::PathBuf;

use rustls::pki_types::ServerName;

use crate::diagnostic::{Diagnostic, Diagnostics, Located};
use crate::scenario::{ListenTlsSpec, ServiceTlsSpec};

/// Towards callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenTls {
    pub identity: Identity,
    /// Whose certificates callers must show.
    pub client_ca: Option<PathBuf>,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Towards one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTls {
    /// Whom to believe besides those the system knows.
    pub ca: Option<PathBuf>,
    pub identity: Option<Identity>,
    pub server_name: ServerName<'static>,
}

fn path(written: &Located<String>) -> PathBuf {
    PathBuf::from(&written.value)
}

pub(super) fn listen(spec: &ListenTlsSpec) -> Option<ListenTls> {
    // What is missing has been noted where it was read.
    let identity = Identity { cert: path(spec.cert.as_ref()?), key: path(spec.key.as_ref()?) };
    Some(ListenTls { identity, client_ca: spec.client_ca.as_ref().map(path) })
}

/// `host`: the URL's. `None`: it is not spoken to over TLS, or something is wrong and has been noted.
pub(super) fn service(
    url: &Located<String>,
    host: &str,
    spec: Option<&ServiceTlsSpec>,
    notes: &mut Diagnostics,
) -> Option<ServiceTls> {
    if !url.value.starts_with("https://") {
        if let Some(spec) = spec {
            let note = Diagnostic::error(spec.at, "`tls` belongs to `https://` services");
            notes.push(note.hint("write `https://` in `url`, or take `tls` out"));
        }
        return None;
    }
    let written = spec.and_then(|spec| spec.server_name.as_ref());
    let name = written.map_or(host, |name| &name.value);
    let server_name = ServerName::try_from(name.to_owned());
    // A URL without a host has been told of.
    if server_name.is_err() && !name.is_empty() {
        let at = written.map_or(url.at, |written| written.at);
        let note = Diagnostic::error(at, format!("\"{name}\" is no name a server can have"));
        notes.push(note.hint("a host's name or an address, without a port"));
    }
    let identity = match spec.map(|spec| (&spec.cert, &spec.key)) {
        Some((Some(cert), Some(key))) => Some(Identity { cert: path(cert), key: path(key) }),
        Some((Some(alone), None) | (None, Some(alone))) => {
            let note = Diagnostic::error(alone.at, "a certificate and its key go together");
            notes.push(note.hint("write both `cert` and `key`"));
            None
        }
        _ => None,
    };
    let ca = spec.and_then(|spec| spec.ca.as_ref()).map(path);
    Some(ServiceTls { ca, identity, server_name: server_name.ok()? })
}
