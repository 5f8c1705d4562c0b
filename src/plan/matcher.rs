//! Request head → route: a segment trie with backtracking, most specific match first.

use http::Method;

use super::{RouteId, ServiceId};

#[derive(Debug, Default)]
pub struct Matcher {}

impl Matcher {
    /// The most specific route for a request. `only`: the service whose own port it came in by.
    /// `path` is the raw path (no query); matching decides on its canonical form.
    /// `None`: no route of the file matches.
    pub fn find(
        &self,
        _only: Option<ServiceId>,
        _method: &Method,
        _host: &str,
        _path: &str,
    ) -> Option<RouteId> {
        None
    }
}
