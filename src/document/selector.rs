//! What tells one caller, or one operation, from another: a part of the request.

use std::fmt;
use std::str::FromStr;

use http::HeaderName;

use crate::diagnostic::{Diagnostic, Diagnostics, Located};

/// A part of a request whose values tell callers apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    Header(HeaderName),
    Cookie(String),
    Query(String),
    ClientIp,
}

impl Selector {
    /// `header:NAME` and the like; mistakes are noted.
    pub fn read(text: &Located<String>, notes: &mut Diagnostics) -> Option<Self> {
        match text.value.parse() {
            Ok(selector) => Some(selector),
            Err(why) => {
                notes.push(
                    Diagnostic::error(text.at, why)
                        .hint("\"header:NAME\", \"cookie:NAME\", \"query:NAME\" or \"client-ip\""),
                );
                None
            }
        }
    }
}

impl FromStr for Selector {
    type Err = &'static str;

    /// `header:x-user`, `cookie:session`, `query:user`, `client-ip`.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        if text == "client-ip" {
            return Ok(Self::ClientIp);
        }
        match text.split_once(':') {
            None => Err("this does not say where to look"),
            Some((_, "")) => Err("nothing is named"),
            Some(("header", name)) => {
                name.parse().map(Self::Header).map_err(|_| "not a header's name")
            }
            // A blank is in no cookie's name, and in a parameter's it is written otherwise.
            Some((_, name)) if name.contains(char::is_whitespace) => Err("a name has no blank"),
            Some(("cookie", name)) => Ok(Self::Cookie(name.to_owned())),
            Some(("query", name)) => Ok(Self::Query(name.to_owned())),
            Some(_) => {
                Err("callers are told apart by a header, a cookie, a query or the client-ip")
            }
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::ClientIp => f.write_str("client-ip"),
        }
    }
}
