//! The same request once more: what goes out is copied on its way, and sent again when all of it is
//! out. Nobody waits for the answers, and no SLI counts them.

use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Version, header, request};

use super::act;
use super::body::{Payload, RequestBody};
use super::exchange::Exchange;
use super::prescription::Deed;
use super::upstream::Way;
use super::worker::{Taken, Worker};
use crate::plan::{RouteId, ServiceId};
use crate::sli::ledger::Skip;

/// Larger bodies are not sent again.
const LARGEST: usize = 64 * 1024;
/// Copies on their way, a worker.
const MOST: usize = 1_000;
/// A service that does not answer is not waited for longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request being copied.
#[derive(Debug)]
pub struct Copies {
    worker: Rc<Worker>,
    stage: Rc<Taken>,
    route: RouteId,
    service: ServiceId,
    asked: Vec<(Deed, u32)>,
    head: request::Parts,
    body: BytesMut,
    too_large: bool,
}

impl Copies {
    /// `head`: as the service gets it.
    pub fn new(
        exchange: &Exchange,
        service: ServiceId,
        asked: Vec<(Deed, u32)>,
        head: &request::Parts,
    ) -> Box<Self> {
        let (mut copy, ()) = Request::new(()).into_parts();
        copy.method = head.method.clone();
        copy.uri = head.uri.clone();
        copy.version = head.version;
        copy.headers = head.headers.clone();
        copy.headers.remove(header::TRANSFER_ENCODING);
        Box::new(Self {
            worker: Rc::clone(exchange.worker()),
            stage: Rc::clone(&exchange.stage),
            route: exchange.outcome.route,
            service,
            asked,
            head: copy,
            body: BytesMut::new(),
            too_large: false,
        })
    }

    /// A piece of the body goes out.
    pub fn saw(&mut self, data: &Bytes) {
        self.too_large |= self.body.len() + data.len() > LARGEST;
        if self.too_large {
            self.body = BytesMut::new();
        } else {
            self.body.extend_from_slice(data);
        }
    }

    /// All of it is out: sends the copies.
    pub fn send(self) {
        let Self { worker, stage, route, service, asked, mut head, body, too_large } = self;
        let body = body.freeze();
        if !body.is_empty() {
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        for (Deed { fault, kind }, count) in asked {
            let room = worker.copies.get() + count as usize <= MOST;
            if too_large || !room {
                let reason = if too_large { Skip::TooLarge } else { Skip::TooMany };
                stage.books.skipped(worker.id, fault, reason);
                continue;
            }
            stage.books.injected(worker.id, route, fault, kind);
            worker.copies.set(worker.copies.get() + count as usize);
            for _ in 0..count {
                let request = Request::from_parts(head.clone(), body.clone());
                let (worker, stage) = (Rc::clone(&worker), Rc::clone(&stage));
                tokio::task::spawn_local(async move {
                    let copy = send(&worker, &stage, service, request);
                    let _ = tokio::time::timeout(PATIENCE, copy).await;
                    worker.copies.set(worker.copies.get() - 1);
                });
            }
        }
    }
}

async fn send(worker: &Worker, stage: &Taken, service: ServiceId, request: Request<Bytes>) {
    let request = request.map(|body| {
        let payload = if body.is_empty() { Payload::Empty } else { Payload::Full(Some(body)) };
        RequestBody::new(payload, None, None)
    });
    let target = &stage.plan.services[usize::from(service)];
    let connect = stage.plan.proxy.timeouts.connect;
    let way = Way { connect, h2: request.version() == Version::HTTP_2 };
    if let Ok((response, lease)) = worker.pool.send((service, target), way, request).await
        && act::drain(response.into_body(), false).await
    {
        lease.give_back();
    }
}
