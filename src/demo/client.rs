//! An HTTP/1.1 client of a few dozen lines: plain `http`, one host, connections reused.
//!
//! Own code beside a full client crate because what is wanted is small (one host, no redirects,
//! no TLS, no proxy) and because a load generator must not retry, pool or time out behind one's
//! back.

use std::fmt;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A client of one host. Cheap to share: an idle connection is taken by one request at a time.
#[derive(Debug)]
pub struct Client {
    host: String,
    port: u16,
    authority: HeaderValue,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, or as much of it as was asked for.
    pub body: Bytes,
    /// How long the body was in bytes, kept or not.
    pub length: u64,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// No connection.
    Connect(io::Error),
    /// The connection broke, or what came was not HTTP.
    Broken(hyper::Error),
    /// No whole answer within the time given.
    TimedOut(Duration),
}

/// A URL this client cannot speak to.
#[derive(Debug)]
pub struct BadUrl(String);

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a URL like http://127.0.0.1:9000", self.0)
    }
}

impl std::error::Error for BadUrl {}

impl Failure {
    /// One word for a tally: `connect`, `timeout`, `closed` (no or half an answer, then the end of
    /// the connection) or `broken` (reset, or not HTTP).
    pub fn label(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::TimedOut(_) => "timeout",
            Self::Broken(error) if error.is_incomplete_message() => "closed",
            Self::Broken(_) => "broken",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
            Self::TimedOut(after) => write!(f, "no answer within {after:?}"),
        }
    }
}

impl std::error::Error for Failure {}

impl Client {
    /// A client of the host that `url` names; the path is ignored.
    pub fn new(url: &str) -> Result<Self, BadUrl> {
        let bad = || BadUrl(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let authority = uri.authority().ok_or_else(bad)?;
        if uri.scheme_str() != Some("http") {
            return Err(bad());
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        Ok(Self {
            host,
            port: authority.port_u16().unwrap_or(80),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| bad())?,
            idle: Mutex::new(Vec::new()),
        })
    }

    /// Sends `request` (whose URI is a path) and reads the answer to its end, keeping the first
    /// `keep` bytes of the body. Never sends twice what may have been received: only a request that
    /// an idle connection refused before its first byte goes out again, on a new one.
    pub async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        keep: usize,
        within: Duration,
    ) -> Result<Reply, Failure> {
        if !request.headers().contains_key(HOST) {
            request.headers_mut().insert(HOST, self.authority.clone());
        }
        tokio::time::timeout(within, self.exchange(request, keep))
            .await
            .unwrap_or(Err(Failure::TimedOut(within)))
    }

    async fn exchange(
        &self,
        mut request: Request<Full<Bytes>>,
        keep: usize,
    ) -> Result<Reply, Failure> {
        while let Some(mut connection) = self.take_idle() {
            if connection.ready().await.is_err() {
                continue;
            }
            match connection.try_send_request(request).await {
                Ok(response) => return self.finish(connection, response, keep).await,
                Err(mut refused) => match refused.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Failure::Broken(refused.into_error())),
                },
            }
        }
        let mut connection = self.connect().await?;
        let response = connection.send_request(request).await.map_err(Failure::Broken)?;
        self.finish(connection, response, keep).await
    }

    async fn finish(
        &self,
        connection: SendRequest<Full<Bytes>>,
        response: http::Response<hyper::body::Incoming>,
        keep: usize,
    ) -> Result<Reply, Failure> {
        let (head, mut incoming) = response.into_parts();
        let mut body = BytesMut::new();
        let mut length = 0;
        while let Some(frame) = incoming.frame().await {
            if let Ok(data) = frame.map_err(Failure::Broken)?.into_data() {
                length += data.len() as u64;
                body.extend_from_slice(&data[..data.len().min(keep - body.len())]);
            }
        }
        if !connection.is_closed()
            && let Ok(mut idle) = self.idle.lock()
        {
            idle.push(connection);
        }
        Ok(Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.freeze(),
            length,
        })
    }

    fn take_idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        self.idle.lock().ok()?.pop()
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let stream =
            TcpStream::connect((self.host.as_str(), self.port)).await.map_err(Failure::Connect)?;
        stream.set_nodelay(true).map_err(Failure::Connect)?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(Failure::Broken)?;
        // Ends by itself when the sender is dropped or the peer closes; what went wrong reaches
        // the request through the sender.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_plain_http_urls_only() {
        let client = Client::new("http://[::1]:9000/ignored").expect("an IPv6 literal");
        assert_eq!((client.host.as_str(), client.port), ("::1", 9000));
        assert_eq!(Client::new("http://example.test").expect("a default port").port, 80);
        for url in ["https://example.test", "example.test:80", "/path", "", "http://"] {
            assert!(Client::new(url).is_err(), "{url}");
        }
    }
}
