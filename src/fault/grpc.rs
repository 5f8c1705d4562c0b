//! gRPC's statuses: names, numbers, and what an HTTP caller gets for them.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// By number.
pub const STATUSES: &[&str] = &[
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// `google.rpc.Code`'s comments say which status gateways answer with.
const HTTP: [u16; 17] =
    [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// A status by its number, 0 to 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(u8);

impl Status {
    /// `None` above 16.
    pub fn new(number: u8) -> Option<Self> {
        (usize::from(number) < STATUSES.len()).then_some(Self(number))
    }
    pub fn number(self) -> u8 {
        self.0
    }
    pub fn name(self) -> &'static str {
        STATUSES[usize::from(self.0)]
    }
    /// What an HTTP caller gets.
    pub fn http(self) -> StatusCode {
        StatusCode::from_u16(HTTP[usize::from(self.0)]).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What a service says, in its trailers or in a head that is all there is.
    pub fn said(fields: &HeaderMap) -> Option<Self> {
        Self::new(fields.get(STATUS)?.to_str().ok()?.parse().ok()?)
    }

    /// Makes `fields` those of an answer without a body that gRPC callers take as this status
    /// ("trailers-only"). `request`: the type of what was asked, which the answer repeats.
    pub fn trailers_only(self, message: &[u8], request: &HeaderValue, fields: &mut HeaderMap) {
        fields.insert(CONTENT_TYPE, request.clone());
        fields.insert(STATUS, HeaderValue::from(u16::from(self.0)));
        if !message.is_empty()
            && let Ok(message) = HeaderValue::try_from(percent_encoded(message))
        {
            fields.insert(MESSAGE, message);
        }
    }
}

/// Some of the statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statuses(u32);

impl Statuses {
    /// By number; those above 31 are none.
    pub const fn of(numbers: &[u8]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < numbers.len() {
            if numbers[at] < 32 {
                bits |= 1 << numbers[at];
            }
            at += 1;
        }
        Self(bits)
    }

    pub fn has(self, number: u8) -> bool {
        number < 32 && self.0 & 1 << number != 0
    }
}

/// The request's content type, if it is one of gRPC's (gRPC-Web's included).
pub fn content_type(fields: &HeaderMap) -> Option<&HeaderValue> {
    fields.get(CONTENT_TYPE).filter(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// As `grpc-message` is sent: printable ASCII but `%` stands for itself.
fn percent_encoded(message: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(message.len());
    for byte in message {
        if (b' '..=b'~').contains(byte) && *byte != b'%' {
            text.push(char::from(*byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_name_and_a_mapping() {
        assert_eq!(STATUSES.len(), HTTP.len());
        for (name, number, http) in [
            ("OK", 0, 200),
            ("UNKNOWN", 2, 500),
            ("UNAVAILABLE", 14, 503),
            ("UNAUTHENTICATED", 16, 401),
        ] {
            let status = Status::new(number).unwrap();
            assert_eq!((status.name(), status.http().as_u16()), (name, http));
        }
        assert_eq!(Status::new(17), None);
    }

    #[test]
    fn some_statuses() {
        let some = Statuses::of(&[2, 14, 16, 40]);
        let has = (0..=255).filter(|number| some.has(*number));
        assert_eq!(has.collect::<Vec<u8>>(), [2, 14, 16]);
    }

    #[test]
    fn what_services_say() {
        let said = |text| {
            let fields = HeaderMap::from_iter([(STATUS, HeaderValue::from_static(text))]);
            Status::said(&fields).map(Status::number)
        };
        assert_eq!([said("0"), said("14"), said("17"), said("x")], [Some(0), Some(14), None, None]);
        assert_eq!(Status::said(&HeaderMap::new()), None);
    }

    #[test]
    fn messages_are_percent_encoded() {
        assert_eq!(percent_encoded("50% à\n".as_bytes()), "50%25 %C3%A0%0A");
    }
}
