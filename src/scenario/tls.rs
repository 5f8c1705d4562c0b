//! TLS: what the user wrote of certificates and keys. Paths are as written; they are read when the
//! proxy starts, and again when they change.

use crate::diagnostic::Located;
use crate::document::{Key, Table, TableKeys, Value};

pub(super) static LISTEN: TableKeys = TableKeys {
    name: "proxy.tls",
    doc: "TLS towards callers, on every port. PEM files, read again when they change.",
    keys: &[
        Key::new("cert", Value::Text, "The certificate and what vouches for it.").required(),
        Key::new("key", Value::Text, "Its private key.").required(),
        Key::new("client_ca", Value::Text, "Callers need a certificate that this one vouches for."),
    ],
    short: None,
};

pub(super) static SERVICE: TableKeys = TableKeys {
    name: "services.NAME.tls",
    doc: "TLS towards an `https://` service. PEM files, read again when they change.",
    keys: &[
        Key::new("ca", Value::Text, "Vouches for it, besides those the system knows."),
        Key::new("cert", Value::Text, "Our own certificate, where it asks for one."),
        Key::new("key", Value::Text, "Its private key."),
        Key::new("server_name", Value::Text, "The name its certificate is for.")
            .default("the URL's host"),
    ],
    short: None,
};

#[derive(Debug, Clone)]
pub struct ListenTlsSpec {
    pub cert: Option<Located<String>>,
    pub key: Option<Located<String>>,
    pub client_ca: Option<Located<String>>,
}

#[derive(Debug, Clone)]
pub struct ServiceTlsSpec {
    /// Where `tls` stands.
    pub at: crate::diagnostic::Place,
    pub ca: Option<Located<String>>,
    pub cert: Option<Located<String>>,
    pub key: Option<Located<String>>,
    pub server_name: Option<Located<String>>,
}

pub(super) fn listen(table: &mut Table<'_, '_>) -> Option<ListenTlsSpec> {
    let mut table = table.table("tls")?;
    Some(ListenTlsSpec {
        cert: table.text("cert"),
        key: table.text("key"),
        client_ca: table.text("client_ca"),
    })
}

pub(super) fn service(table: &mut Table<'_, '_>) -> Option<ServiceTlsSpec> {
    let at = table.node("tls")?.at();
    let mut table = table.table("tls")?;
    Some(ServiceTlsSpec {
        at,
        ca: table.text("ca"),
        cert: table.text("cert"),
        key: table.text("key"),
        server_name: table.text("server_name"),
    })
}
