//! A small HTTP/1.1 client with one kept connection, for the shop and the load generator.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// One connection, opened when needed and kept while it lasts.
#[derive(Debug)]
pub struct Client {
    authority: String,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// What went wrong, for people.
#[derive(Debug)]
pub struct Failed(pub String);

impl Client {
    /// `url`: `http://HOST:PORT`.
    pub fn new(url: &str) -> Result<Self, Failed> {
        let authority = url
            .strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/'))
            .filter(|rest| !rest.is_empty() && !rest.contains('/'))
            .ok_or_else(|| Failed(format!("{url} is not http://HOST:PORT")))?;
        let authority =
            if authority.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok()) {
                authority.to_owned()
            } else {
                format!("{authority}:80")
            };
        Ok(Self { authority, sender: None })
    }

    /// Sends and reads the whole answer. After a failure the next call opens a new connection.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<Response<Bytes>, Failed> {
        let failed = |error: &dyn std::fmt::Display| Failed(error.to_string());
        let kept = match self.sender.take() {
            // Ready, or closed meanwhile.
            Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
            None => None,
        };
        let mut sender = if let Some(sender) = kept {
            sender
        } else {
            let stream =
                TcpStream::connect(&self.authority).await.map_err(|error| failed(&error))?;
            let _ = stream.set_nodelay(true);
            let (sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
            tokio::spawn(connection);
            sender
        };
        let mut request =
            Request::builder().method(method).uri(path).header("host", &self.authority);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body)).map_err(|error| failed(&error))?;
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| failed(&error))?.to_bytes();
        self.sender = Some(sender);
        Ok(Response::from_parts(head, body))
    }
}
