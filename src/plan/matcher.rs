//! Request head → route: a segment trie with backtracking, most specific match first.
//!
//! Own code beside a well-kept router crate: those refuse overlapping templates
//! (`/a/{x}/c` beside `/a/{*rest}`) and give one answer, where a route whose host or method does
//! not fit must fall back to the next.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::condition::{Asked, Conditions};
use super::{RouteId, ServiceId};

/// One piece of a path template.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    Literal(String),
    /// `{name}`: one segment.
    Param,
    /// `{*rest}`: everything that is left, also nothing.
    Rest,
}

/// Which hosts a route takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostRule {
    /// Lower case, no port.
    Exact(String),
    /// `*.example.com` as `.example.com`.
    Suffix(String),
    Any,
}

/// A route as the matcher sees it.
#[derive(Debug, Clone)]
pub struct Rule {
    pub route: RouteId,
    pub service: ServiceId,
    pub path: Vec<Segment>,
    pub host: HostRule,
    pub conditions: Conditions,
}

#[derive(Debug, Default)]
pub struct Matcher {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    literals: Map<Node>,
    param: Option<Box<Node>>,
    rest: Leaf,
    end: Leaf,
}

/// The rules of one path shape.
#[derive(Debug, Default)]
struct Leaf {
    exact: Map<Vec<Choice>>,
    /// By suffix; the longest that fits wins.
    suffixes: Map<Vec<Choice>>,
    any: Vec<Choice>,
}

/// Rules that name methods stand before those that do not, then those with more conditions.
#[derive(Debug)]
struct Choice {
    route: RouteId,
    service: ServiceId,
    conditions: Conditions,
}

impl Choice {
    /// The smaller, the more specific.
    fn rank(&self) -> (bool, std::cmp::Reverse<usize>) {
        (self.conditions.methods.is_empty(), std::cmp::Reverse(self.conditions.fields.len()))
    }
}

impl Matcher {
    pub fn new<'r>(rules: impl IntoIterator<Item = &'r Rule>) -> Self {
        let mut root = Node::default();
        for rule in rules {
            let mut node = &mut root;
            let mut leaf_is_rest = false;
            for segment in &rule.path {
                match segment {
                    Segment::Literal(text) => node = node.literals.entry(text.clone()).or_default(),
                    Segment::Param => node = node.param.get_or_insert_default(),
                    Segment::Rest => leaf_is_rest = true,
                }
            }
            let leaf = if leaf_is_rest { &mut node.rest } else { &mut node.end };
            let choices = match &rule.host {
                HostRule::Exact(host) => leaf.exact.entry(host.clone()).or_default(),
                HostRule::Suffix(suffix) => leaf.suffixes.entry(suffix.clone()).or_default(),
                HostRule::Any => &mut leaf.any,
            };
            let conditions = rule.conditions.clone();
            let choice = Choice { route: rule.route, service: rule.service, conditions };
            let place = choices.partition_point(|known| known.rank() <= choice.rank());
            choices.insert(place, choice);
        }
        Self { root }
    }

    /// The most specific route for a request: literal segments before `{param}` before `{*rest}`,
    /// from left to right; then exact host, wildcard host, any; then method given; then the number
    /// of conditions. Decides on the path's canonical form. `None`: no route of the file matches.
    pub fn find(&self, asked: &Asked<'_>) -> Option<RouteId> {
        self.find_at(&canonical(asked.path), asked)
    }

    /// `path`: that of the request, in its canonical form.
    pub fn find_at(&self, path: &str, asked: &Asked<'_>) -> Option<RouteId> {
        let host = bare_host(asked.host);
        let asked = Asked { host: &host, ..*asked };
        match path.strip_prefix('/') {
            Some(left) => find(&self.root, Some(left), &asked),
            // `OPTIONS *` is no path: only a route for every path takes it.
            None => self.root.rest.choose(&asked),
        }
    }
}

/// `left`: what is left of the path after the slash; `None`: nothing, not even a slash.
fn find(node: &Node, left: Option<&str>, asked: &Asked<'_>) -> Option<RouteId> {
    let Some(left) = left else {
        return node.end.choose(asked).or_else(|| node.rest.choose(asked));
    };
    let (segment, after) = match left.split_once('/') {
        Some((segment, after)) => (segment, Some(after)),
        None => (left, None),
    };
    node.literals
        .get(segment)
        .and_then(|next| find(next, after, asked))
        .or_else(|| {
            // A parameter is a whole segment, and not an empty one.
            let next = node.param.as_ref().filter(|_| !segment.is_empty())?;
            find(next, after, asked)
        })
        .or_else(|| node.rest.choose(asked))
}

impl Leaf {
    fn choose(&self, asked: &Asked<'_>) -> Option<RouteId> {
        if let Some(route) = self.exact.get(asked.host).and_then(|choices| choose(choices, asked)) {
            return Some(route);
        }
        if !self.suffixes.is_empty() {
            // From the longest suffix to the shortest.
            for (at, _) in asked.host.match_indices('.') {
                let found =
                    self.suffixes.get(&asked.host[at..]).and_then(|choices| choose(choices, asked));
                if found.is_some() {
                    return found;
                }
            }
        }
        choose(&self.any, asked)
    }
}

fn choose(choices: &[Choice], asked: &Asked<'_>) -> Option<RouteId> {
    let fits = |choice: &&Choice| {
        asked.only.is_none_or(|only| choice.service == only) && choice.conditions.hold(asked)
    };
    choices.iter().find(fits).map(|choice| choice.route)
}

type Map<V> = HashMap<String, V, BuildHasherDefault<Fnv>>;

/// FNV-1a, for keys of a few bytes; the map's own SipHash was most of a match. No caller can make
/// keys collide: they are the scenario's, requests only look them up.
#[derive(Debug)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        // The map tells slots apart by the topmost bits, which a key's last bytes hardly reach:
        // `thing1` and `thing2` would look alike.
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Lower case, without the port and the dot of an absolute name.
pub(super) fn bare_host(host: &str) -> Cow<'_, str> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// The form in which paths are compared (RFC 3986 6.2.2): unreserved characters decoded, others
/// beyond ASCII encoded, escapes in upper case, no dot segments, no doubled slashes; `/` for none.
/// Allocates only where something may change.
pub fn canonical(path: &str) -> Cow<'_, str> {
    if path.is_empty() {
        return Cow::Borrowed("/");
    }
    if is_plain(path) || !path.starts_with('/') {
        return Cow::Borrowed(path);
    }
    let decoded = decode_unreserved(path);
    let mut out = String::with_capacity(decoded.len());
    let mut pieces = decoded.split('/').skip(1).peekable();
    while let Some(piece) = pieces.next() {
        match piece {
            "" | "." => {}
            ".." => out.truncate(out.rfind('/').unwrap_or(0)),
            other => {
                out.push('/');
                out.push_str(other);
                continue;
            }
        }
        if pieces.peek().is_none() {
            // `/a/`, `/a/.` and `/a/b/..` end in a slash.
            out.push('/');
        }
    }
    Cow::Owned(out)
}

/// Nothing in the path can need a change. One pass: this runs for every request.
fn is_plain(path: &str) -> bool {
    let mut before = 0;
    for byte in path.bytes() {
        if byte == b'%' || !byte.is_ascii() || (before == b'/' && matches!(byte, b'/' | b'.')) {
            return false;
        }
        before = byte;
    }
    true
}

/// Escapes as in [`canonical`]; what only looks like one stays.
pub(super) fn decode_unreserved(path: &str) -> String {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let mut out = String::with_capacity(path.len());
    let escape = |out: &mut String, byte: u8| {
        out.extend(['%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut left = path.as_bytes();
    while let [byte, after @ ..] = left {
        left = after;
        let escaped = match after {
            [high, low, ..] if *byte == b'%' => digit(high).zip(digit(low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                left = &after[2..];
                let byte = (high * 16 + low) as u8;
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    out.push(char::from(byte));
                } else {
                    escape(&mut out, byte);
                }
            }
            None if byte.is_ascii() => out.push(char::from(*byte)),
            None => escape(&mut out, *byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, Method};
    use proptest::prelude::*;

    #[test]
    fn canonical_paths() {
        for (raw, want) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("//admin", "/admin"),
            ("/open/../admin", "/admin"),
            ("/open/%2e%2e/admin", "/admin"),
            ("/%61dmin", "/admin"),
            ("/admin/.", "/admin/"),
            ("/../../x", "/x"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%zz", "/a%zz"),
            ("/a%", "/a%"),
            ("/ä%C3%A4//", "/%C3%A4%C3%A4/"),
            ("/%+f%2", "/%+f%2"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a/b/..", "/a/"),
            ("/a//../b", "/b"),
            ("", "/"),
            ("*", "*"),
        ] {
            assert_eq!(canonical(raw), want, "{raw}");
        }
    }

    fn rule(route: RouteId, path: &[Segment], host: HostRule, methods: &[Method]) -> Rule {
        let conditions = Conditions { methods: methods.into(), ..Conditions::default() };
        Rule { route, service: 0, path: path.to_vec(), host, conditions }
    }

    fn asked<'a>(
        only: Option<ServiceId>,
        method: &'a Method,
        host: &'a str,
        path: &'a str,
        headers: &'a HeaderMap,
    ) -> Asked<'a> {
        Asked { only, method, host, path, query: None, headers, client: None }
    }

    #[test]
    fn falls_back_to_the_next() {
        let literal = |text: &str| Segment::Literal(text.to_owned());
        let matcher = Matcher::new(&[
            rule(0, &[literal("a"), Segment::Rest], HostRule::Any, &[]),
            rule(1, &[literal("a"), Segment::Param, literal("c")], HostRule::Any, &[]),
            rule(2, &[literal("a"), literal("b"), literal("c")], HostRule::Any, &[Method::POST]),
            rule(3, &[literal("a"), literal("b")], HostRule::Suffix(".shop.example".into()), &[]),
            rule(4, &[literal("a"), literal("b")], HostRule::Exact("www.shop.example".into()), &[]),
        ]);
        let none = HeaderMap::new();
        let find = |method, host, path| matcher.find(&asked(None, method, host, path, &none));
        assert_eq!(find(&Method::POST, "t", "/a/b/c"), Some(2));
        assert_eq!(find(&Method::GET, "t", "/a/b/c"), Some(1));
        assert_eq!(find(&Method::GET, "t", "/a/b/d"), Some(0));
        assert_eq!(find(&Method::GET, "t", "/a"), Some(0));
        assert_eq!(find(&Method::GET, "t", "/a/"), Some(0));
        assert_eq!(find(&Method::GET, "t", "/b"), None);
        assert_eq!(find(&Method::GET, "t", "*"), None);
        assert_eq!(find(&Method::GET, "www.shop.example.", "/a/b"), Some(4));
        assert_eq!(find(&Method::GET, "WWW.shop.example:80", "/a/b"), Some(4));
        assert_eq!(find(&Method::GET, "eu.shop.example", "/a/b"), Some(3));
        assert_eq!(matcher.find(&asked(Some(1), &Method::GET, "t", "/a/b/c", &none)), None);
    }

    /// More conditions come first; a rule whose conditions fail makes room for the next, also
    /// for one on a less specific path.
    #[test]
    fn conditions_decide_among_equals_and_fall_back() {
        let header = |name: &'static str, value: &str| super::super::condition::Field {
            place: super::super::condition::FieldPlace::Header(http::HeaderName::from_static(name)),
            says: super::super::condition::Test::Exactly(value.to_owned()),
        };
        let with = |route, path: &[Segment], fields: &[(&'static str, &str)]| {
            let mut rule = rule(route, path, HostRule::Any, &[]);
            rule.conditions.fields =
                fields.iter().map(|(name, value)| header(name, value)).collect();
            rule
        };
        let pay = [Segment::Literal("pay".to_owned())];
        let matcher = Matcher::new(&[
            with(0, &[Segment::Rest], &[]),
            with(1, &pay, &[("x-a", "1")]),
            with(2, &pay, &[("x-a", "1"), ("x-b", "1")]),
            rule(3, &pay, HostRule::Any, &[Method::PUT]),
        ]);
        let find = |method: &Method, fields: &[(&'static str, &'static str)]| {
            let headers: HeaderMap = fields
                .iter()
                .map(|(name, value)| {
                    (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
                })
                .collect();
            matcher.find(&asked(None, method, "t", "/pay", &headers))
        };
        assert_eq!(find(&Method::GET, &[("x-a", "1"), ("x-b", "1")]), Some(2));
        assert_eq!(find(&Method::GET, &[("x-a", "1")]), Some(1));
        assert_eq!(find(&Method::GET, &[("x-b", "1")]), Some(0));
        assert_eq!(find(&Method::PUT, &[("x-a", "1"), ("x-b", "1")]), Some(3), "method first");
    }

    /// The rule by rule reading of the contract.
    fn naive(rules: &[Rule], method: &Method, host: &str, path: &[String]) -> Option<RouteId> {
        let mut fitting: Vec<(Vec<u8>, u8, usize, u8, RouteId)> = Vec::new();
        for rule in rules {
            let mut rank = Vec::new();
            let mut fits = true;
            let mut at = 0;
            for segment in &rule.path {
                match segment {
                    Segment::Literal(text) => {
                        fits &= path.get(at).is_some_and(|piece| piece == text);
                        rank.push(0);
                        at += 1;
                    }
                    Segment::Param => {
                        fits &= path.get(at).is_some_and(|piece| !piece.is_empty());
                        rank.push(1);
                        at += 1;
                    }
                    Segment::Rest => {
                        rank.push(2);
                        at = path.len().max(at);
                    }
                }
            }
            fits &= at == path.len();
            let methods = &rule.conditions.methods;
            fits &= methods.is_empty() || methods.contains(method);
            let (host_rank, longer) = match &rule.host {
                HostRule::Exact(name) => {
                    fits &= name == host;
                    (0, 0)
                }
                HostRule::Suffix(suffix) => {
                    fits &= host.ends_with(suffix.as_str());
                    (1, 100 - suffix.len())
                }
                HostRule::Any => (2, 0),
            };
            if fits {
                fitting.push((rank, host_rank, longer, u8::from(methods.is_empty()), rule.route));
            }
        }
        fitting.into_iter().min().map(|(.., route)| route)
    }

    fn segments() -> impl Strategy<Value = Vec<Segment>> {
        let one = prop_oneof![
            3 => "[ab]".prop_map(Segment::Literal),
            1 => Just(Segment::Param),
        ];
        (prop::collection::vec(one, 0..4), any::<bool>()).prop_map(|(mut path, rest)| {
            if rest || path.is_empty() {
                path.push(Segment::Rest);
            }
            path
        })
    }

    fn hosts() -> impl Strategy<Value = HostRule> {
        prop_oneof![
            Just(HostRule::Any),
            Just(HostRule::Exact("x.y.z".into())),
            Just(HostRule::Suffix(".z".into())),
            Just(HostRule::Suffix(".y.z".into())),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_reading(
            shapes in prop::collection::vec((segments(), hosts(), any::<bool>()), 0..12),
            path in prop::collection::vec("[abc]", 1..5),
            host in prop_oneof![Just("x.y.z"), Just("q.z"), Just("other")],
            post in any::<bool>(),
        ) {
            let mut seen = std::collections::HashSet::new();
            let rules: Vec<Rule> = shapes
                .into_iter()
                .filter(|shape| seen.insert(shape.clone()))
                .enumerate()
                .map(|(route, (path, host, post))| Rule {
                    route: route as RouteId,
                    service: 0,
                    path,
                    host,
                    conditions: Conditions {
                        methods: if post { [Method::POST].into() } else { Box::default() },
                        ..Conditions::default()
                    },
                })
                .collect();
            let method = if post { Method::POST } else { Method::GET };
            let want = naive(&rules, &method, host, &path);
            let (path, none) = (format!("/{}", path.join("/")), HeaderMap::new());
            let got = Matcher::new(&rules).find(&asked(None, &method, host, &path, &none));
            prop_assert_eq!(got, want, "{:?}", rules);
        }

        #[test]
        fn any_path_is_taken(path in ".{0,40}") {
            let once = canonical(&path).into_owned();
            if once.starts_with('/') {
                prop_assert_eq!(&canonical(&once), &once, "canonical is final");
            }
        }
    }
}
