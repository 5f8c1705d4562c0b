//! A service that keeps the raw bytes of every request it was sent.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::support::bounded;

/// One request as it came; `whole`: its end was seen.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) bytes: Vec<u8>,
    pub(crate) whole: bool,
}

impl Seen {
    /// Names in lower case, as headers compare.
    pub(crate) fn text(&self) -> String {
        self.bytes.iter().map(|byte| char::from(*byte)).collect()
    }
}

pub(crate) struct Recorder {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Recorder {
    /// Answers every request with `answer`.
    pub(crate) fn start(answer: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let keep = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let keep = Arc::clone(&keep);
                std::thread::spawn(move || serve(bounded(stream.unwrap()), answer, &keep));
            }
        });
        Self { url, seen }
    }

    /// What has come since the last call.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn serve(mut stream: TcpStream, answer: &[u8], seen: &Mutex<Vec<Seen>>) {
    let mut buffer = Vec::new();
    loop {
        let length = loop {
            if let Some(length) = length(&buffer) {
                break length;
            }
            let mut piece = [0; 4096];
            if let Ok(read @ 1..) = stream.read(&mut piece) {
                buffer.extend_from_slice(&piece[..read]);
                continue;
            }
            if !buffer.is_empty() {
                seen.lock().unwrap().push(Seen { bytes: buffer, whole: false });
            }
            return;
        };
        let rest = buffer.split_off(length);
        let bytes = std::mem::replace(&mut buffer, rest);
        seen.lock().unwrap().push(Seen { bytes, whole: true });
        if stream.write_all(answer).is_err() {
            return;
        }
    }
}

/// How long the first request is, once it is all there.
fn length(buffer: &[u8]) -> Option<usize> {
    let head = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let value =
        |name: &str| text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
    if value("transfer-encoding:").is_some() {
        return chunks(&buffer[head..]).map(|body| head + body);
    }
    let body: usize = value("content-length:").map_or(0, |length| length.parse().unwrap());
    (buffer.len() >= head + body).then_some(head + body)
}

/// How long a body in chunks is, up to the empty line behind its trailers.
fn chunks(body: &[u8]) -> Option<usize> {
    let line = |from: usize| Some(from + body[from..].windows(2).position(|two| two == b"\r\n")?);
    let mut at = 0;
    loop {
        let end = line(at)?;
        let size = usize::from_str_radix(std::str::from_utf8(&body[at..end]).unwrap(), 16).unwrap();
        at = end + 2;
        if size == 0 {
            break;
        }
        at += size + 2;
        body.get(at - 1)?;
    }
    loop {
        let end = line(at)?;
        if end == at {
            return Some(end + 2);
        }
        at = end + 2;
    }
}
