use super::*;
use http::HeaderValue;

fn fields(said: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::try_from(said).unwrap())])
}

fn body(json: Option<(&str, Option<Scalar>)>, body: Option<&str>, read_up_to: usize) -> Check {
    Check {
        place: 0,
        header: Box::default(),
        content_type: None,
        json: json.map(|(text, equals)| Pointer::new(text, equals).unwrap()),
        body: body.map(|text| Pattern::new(text).unwrap()),
        read_up_to,
    }
}

#[test]
fn media_types() {
    let is = |wanted: &str, said: &str| MediaType::new(wanted).unwrap().is_of(&fields(said));
    for said in ["application/json", "Application/JSON ; charset=utf-8", "application/json;"] {
        assert!(is("application/json", said) && is("application/*", said), "{said}");
        assert!(is("APPLICATION/json", said), "{said}");
    }
    for said in ["application/jsonp", "text/json", "application", "", "application/problem+json"] {
        assert!(!is("application/json", said), "{said}");
    }
    assert!(!is("text/*", "text/") && !is("text/*", "text") && !is("text/*", "texts/a"));
    for text in ["", "json", "a/b;c=d", "*/*", "*/json", "a/", "/b", "a/b/c", "a b/c", "a/b*"] {
        assert!(MediaType::new(text).is_err(), "{text}");
    }
    assert!(!MediaType::new("a/b").unwrap().is_of(&HeaderMap::new()));
}

/// RFC 6901's own examples, and what it leaves open.
#[test]
fn pointers() {
    let document = r#"{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4,
        "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8, "none": null, "deep": {"er": [{"x": 1.5}]},
        "twice": 1, "twice": 2, "yes": true, "9": "nine", "large": 18446744073709551615}"#;
    let holds = |text: &str, equals: Option<Scalar>| {
        body(Some((text, equals)), None, 4096).takes_body(document.as_bytes(), false).unwrap()
    };
    let number = |number| Some(Scalar::Integer(number));
    let text = |text: &str| Some(Scalar::Text(text.to_owned()));
    for (pointer, equals) in [
        ("", None),
        ("/foo", None),
        ("/foo/0", text("bar")),
        ("/foo/1", text("baz")),
        ("/", number(0)),
        ("/a~1b", number(1)),
        ("/c%d", number(2)),
        ("/e^f", number(3)),
        ("/g|h", number(4)),
        ("/i\\j", number(5)),
        ("/k\"l", number(6)),
        ("/ ", number(7)),
        ("/m~0n", number(8)),
        ("/deep", None),
        ("/deep/er/0/x", Some(Scalar::Float(1.5))),
        ("/twice", number(2)),
        ("/twice", Some(Scalar::Float(2.0))),
        ("/yes", Some(Scalar::Bool(true))),
        ("/9", text("nine")),
        ("/large", None),
    ] {
        assert!(holds(pointer, equals.clone()), "{pointer} {equals:?}");
    }
    for (pointer, equals) in [
        ("/foo/2", None),
        ("/foo/00", None),
        ("/foo/-", None),
        ("/foo/+1", None),
        ("/none", None),
        ("/none", text("")),
        ("/deep/er/0/x/y", None),
        ("/fo", None),
        ("/foo", text("bar")),
        ("/twice", number(1)),
        ("/yes", text("true")),
        ("/a~1b", text("1")),
        ("/deep/er/0/x", number(1)),
        ("/large", number(-1)),
    ] {
        assert!(!holds(pointer, equals.clone()), "{pointer} {equals:?}");
    }
    assert!(body(Some(("", number(5))), None, 9).takes_body(b" 5 ", false).unwrap());
    assert!(body(Some(("", number(5))), None, 9).takes_body(b"5.0", false).unwrap());
    for text in ["a", "/~", "/~2", "/a~", "/a/~0~"] {
        assert!(Pointer::new(text, None).is_err(), "{text}");
    }
    assert!(Pointer::new(&"/a".repeat(DEEPEST + 1), None).is_err());
}

/// What is no JSON is wrong, wherever it goes wrong, also in what nobody asked for.
#[test]
fn broken_documents() {
    let check = body(Some(("/a", None)), None, 1 << 20);
    assert_eq!(check.takes_body(br#"{"a": 1, "b": [true, "x"]}"#, false), Some(true));
    let broken: [&[u8]; 9] = [
        b"",
        b"<html>",
        br#"{"a": 1"#,
        br#"{"a": 1} x"#,
        br#"{"a": 1, "b": tru}"#,
        br#"{"a": 1, "b": [1, 2}"#,
        b"{\"a\": 1, \"b\": \"\xff\"}",
        b"{\"a\": 1, \"b\": \"\x01\"}",
        b"[1, 2]",
    ];
    for text in broken {
        assert_eq!(check.takes_body(text, false), Some(false), "{}", String::from_utf8_lossy(text));
    }
    // However deep: what is passed over costs no stack, and the way to `a` is short.
    let deep = 100_000;
    let nest = format!("{{\"b\": {}{}, \"a\": 1}}", "[".repeat(deep), "]".repeat(deep));
    assert_eq!(check.takes_body(nest.as_bytes(), false), Some(true));
    let nest = "{\"a\":".repeat(50_000);
    assert_eq!(check.takes_body(nest.as_bytes(), false), Some(false));
}

/// Longer than what is read: right where the beginning tells, else not to be told.
#[test]
fn long_bodies() {
    let regex = |text, read_up_to| body(None, Some(text), read_up_to);
    for (text, read_up_to, body, want) in [
        ("ok", 100, "all is ok", Some(true)),
        ("ok", 100, "nothing is", Some(false)),
        ("ok", 9, "all is ok", Some(true)),
        // Whatever follows, it is in there.
        ("ok", 16, "it is ok, and so on and on", Some(true)),
        ("ok.*", 16, "it is ok, and so on and on", Some(true)),
        ("ok", 8, "nothing is, ok", None),
        // Here the end of what was read is not that of the body.
        ("ok$", 8, "it is ok, and on", None),
        (r"ok\z", 8, "it is ok, and on", None),
        (r"ok\b", 8, "it is oks", None),
        ("(?m)ok$", 8, "it is ok, and on", None),
        ("(?-u:\\xff)", 100, "none", Some(false)),
    ] {
        assert_eq!(
            regex(text, read_up_to).takes_body(body.as_bytes(), false),
            want,
            "{text} {body}"
        );
    }
    let long = br#"{"a": "ok, it is all there", "b": 1}"#;
    assert_eq!(body(Some(("/a", None)), None, 10).takes_body(long, false), None);
    assert_eq!(body(Some(("/a", None)), None, long.len()).takes_body(long, false), Some(true));
    // One that is wrong is enough.
    assert_eq!(body(Some(("/c", None)), Some("ok"), 100).takes_body(long, false), Some(false));
    assert_eq!(body(Some(("/a", None)), Some("no"), 100).takes_body(long, false), Some(false));
    assert_eq!(body(Some(("/a", None)), Some("ok"), 100).takes_body(long, false), Some(true));
    assert_eq!(body(Some(("/a", None)), Some("ok"), 20).takes_body(long, false), None);
    // What was kept of it may be short of what is read.
    assert_eq!(body(Some(("/a", None)), None, 100).takes_body(long, true), None);
    assert_eq!(regex("ok", 100).takes_body(long, true), Some(true));
    assert_eq!(regex("no", 100).takes_body(long, true), None);
}
