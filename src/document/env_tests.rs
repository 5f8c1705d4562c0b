//! What `${…}` means, on strings alone.

use super::*;

fn is(text: &str) -> Vec<(&str, Is<'_>)> {
    pieces(text).into_iter().map(|piece| (&text[piece.at], piece.is)).collect()
}

fn variable<'t>(name: &'t str, default: Option<&'t str>) -> Is<'t> {
    Is::Variable { name, default }
}

#[test]
fn pieces_are_told_apart() {
    for text in ["", "$", "$$", "{}", "$NAME", "$ {NAME}", "}{", "/api/{id}", "100%"] {
        assert_eq!(is(text), [], "{text}");
    }
    assert_eq!(is("${A}"), [("${A}", variable("A", None))]);
    assert_eq!(is("x${_a1}y"), [("${_a1}", variable("_a1", None))]);
    assert_eq!(
        is("${A}${B:-}-${C:-c d}"),
        [
            ("${A}", variable("A", None)),
            ("${B:-}", variable("B", Some(""))),
            ("${C:-c d}", variable("C", Some("c d"))),
        ]
    );
    assert_eq!(is("$${A}"), [("$${", Is::Itself)]);
    assert_eq!(is("$$${A}"), [("$${", Is::Itself)]);
    assert_eq!(is("${A}$${"), [("${A}", variable("A", None)), ("$${", Is::Itself)]);
    // A default is anything up to the next brace.
    assert_eq!(is("${A:-{b}}"), [("${A:-{b}", variable("A", Some("{b")))]);
    assert_eq!(is("${A:-x:-y}"), [("${A:-x:-y}", variable("A", Some("x:-y")))]);
    assert_eq!(is("${A:-$${b}"), [("${A:-$${b}", variable("A", Some("$${b")))]);
    assert_eq!(is("${A:-$b 'ü\"\n}"), [("${A:-$b 'ü\"\n}", variable("A", Some("$b 'ü\"\n")))]);
}

#[test]
fn what_is_no_variable_says_why() {
    for (text, piece, kind) in [
        ("a ${} b", "${}", Is::Misnamed("")),
        ("${:-x}", "${:-x}", Is::Misnamed("")),
        ("${1A}", "${1A}", Is::Misnamed("1A")),
        ("${ A }", "${ A }", Is::Misnamed(" A ")),
        ("${A-b}", "${A-b}", Is::Misnamed("A-b")),
        ("${A:=b}", "${A:=b}", Is::Misnamed("A:=b")),
        ("${Ä}", "${Ä}", Is::Misnamed("Ä")),
        ("${A${B}}", "${A${B}}", Is::Nested),
        ("${A:-${B:-${C}}}!", "${A:-${B:-${C}}}", Is::Nested),
        ("x${A", "${A", Is::Unclosed),
        ("${A:-b\"", "${A", Is::Unclosed),
        ("http://${HOST:9000/\n{id}", "${HOST", Is::Unclosed),
        ("${A:-${}", "${A", Is::Unclosed),
        ("${", "${", Is::Unclosed),
    ] {
        assert_eq!(is(text), [(piece, kind)], "{text}");
    }
}

fn text(text: &str) -> Item {
    let at = Place { file: 0, start: 0, end: text.len() as u32 };
    Item { at, content: Content::Text(text.to_owned()), written: None }
}

fn filled(item: Item, lookup: Lookup<'_>) -> (Item, Secrets, Diagnostics) {
    let entry = Entry { name: "${A}".to_owned(), name_at: Place::default(), item };
    let (mut entries, mut notes) = (vec![entry], Diagnostics::new());
    let secrets = fill(&mut entries, &[], lookup, &mut notes);
    let entry = entries.remove(0);
    assert_eq!(entry.name, "${A}", "a key is never touched");
    (entry.item, secrets, notes)
}

#[test]
fn values_and_defaults() {
    let lookup = |name: &str| match name {
        "A" => Some("1".into()),
        "EMPTY" => Some("".into()),
        "CURLY" => Some("${A} $${".into()),
        _ => None,
    };
    for (written, want) in [
        ("${A}", "1"),
        ("a${A}b${A}", "a1b1"),
        ("${A:-2}", "1"),
        ("${NO:-2}", "2"),
        ("${NO:-}", ""),
        ("${EMPTY}", ""),
        ("${EMPTY:-2}", "2"),
        ("$${A}", "${A}"),
        ("$$${A}$${", "$${A}${"),
        ("${NO:-$${A}}", "${A}"),
        // What the environment holds is not read again.
        ("${CURLY}", "${A} $${"),
        ("$A {A} $", "$A {A} $"),
    ] {
        let (item, _, notes) = filled(text(written), &lookup);
        assert!(notes.is_empty(), "{written}: {notes:?}");
        let Content::Text(value) = &item.content else { panic!("{written}: {item:?}") };
        assert_eq!(value, want, "{written}");
        let from_outside = pieces(written).iter().any(|piece| piece.is != Is::Itself);
        assert_eq!(item.written.as_deref(), from_outside.then_some(written), "{written}");
    }
}

#[test]
fn every_string_of_the_tree_and_every_secret_once() {
    let lookup = |name: &str| Some(format!("value of {name}").into());
    let list = |items| Item { at: Place::default(), content: Content::List(items), written: None };
    let nested = list(vec![text("${A}"), list(vec![text("b ${B}"), text("${A}")])]);
    let (_, secrets, notes) = filled(nested, &lookup);
    assert!(notes.is_empty());
    assert_eq!(format!("{secrets:?}"), "Secrets([b ${B}, ${A}, ${B}])");
    let mut text = "\"b value of B\", value of B, value of A".to_owned();
    secrets.redact(&mut text);
    assert_eq!(text, "\"b ${B}\", ${B}, ${A}");
}

#[test]
fn the_environment_cannot_fill_the_memory() {
    let lookup = |_: &str| Some("x".repeat(100_000).into());
    let list = (0..1_000).map(|_| text("${A}${B}")).collect();
    let list = Item { at: Place::default(), content: Content::List(list), written: None };
    let (item, _, notes) = filled(list, &lookup);
    assert_eq!(notes.len(), 1);
    let Content::List(items) = item.content else { panic!("no list") };
    assert!(matches!(items[999].content, Content::Unfilled));
}

#[cfg(unix)]
#[test]
fn bytes_that_are_no_text_are_refused() {
    use std::os::unix::ffi::OsStringExt;
    let lookup = |_: &str| Some(OsString::from_vec(vec![b'a', 0xff]));
    let (item, _, notes) = filled(text("${A}"), &lookup);
    assert!(matches!(item.content, Content::Unfilled));
    assert_eq!(notes[0].message, "`A` holds bytes that are not UTF-8");
}

proptest::proptest! {
    #[test]
    fn no_text_panics_and_pieces_stand_in_order(text in "[${}:\\-AaÄ1\n\"]{0,40}") {
        let mut end = 0;
        for piece in pieces(&text) {
            assert!(piece.at.start >= end && text[piece.at.clone()].contains("${"), "{text:?}");
            end = piece.at.end;
        }
    }

    #[test]
    fn a_doubled_dollar_makes_any_text_stand_for_itself(text in "[${}:\\-AaÄ1\n\"]{0,40}") {
        // A dollar in front of a `${` that is there already would turn it into another.
        let escaped = text.replace("${", "$${");
        let (item, secrets, notes) = filled(self::text(&escaped), &|_| None);
        let Content::Text(value) = item.content else { panic!("{text:?}") };
        assert_eq!(value, text);
        assert_eq!(format!("{secrets:?}"), "Secrets([])");
        assert!(notes.is_empty());
    }
}
