//! Who may ask. On loopback no token is needed, but a web page in the operator's browser can reach
//! loopback too: `Host` stops DNS rebinding, `Origin` stops cross-site requests.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::AdminState;
use super::api::Problem;

pub(super) async fn guard(
    State(state): State<Arc<AdminState>>,
    request: Request,
    next: Next,
) -> Response {
    let host = field(request.headers(), &header::HOST);
    if !host.is_some_and(|host| is_ours(host, &state)) {
        let problem =
            Problem::new(StatusCode::MISDIRECTED_REQUEST, "the Host is not this admin listener");
        return problem.into_response();
    }
    let mutates = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if mutates && request.headers().contains_key(header::ORIGIN) {
        let origin = field(request.headers(), &header::ORIGIN)
            .and_then(|origin| origin.strip_prefix("http://"));
        if origin.is_none() || origin != host {
            let problem =
                Problem::new(StatusCode::FORBIDDEN, "requests from other web pages are refused");
            return problem.into_response();
        }
    }
    next.run(request).await
}

fn field<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A loopback name with any port, or the bound address itself.
fn is_ours(host: &str, state: &AdminState) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            name
        }
        _ => host,
    };
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|ours| name.eq_ignore_ascii_case(ours))
        || host == state.bound.to_string()
}
