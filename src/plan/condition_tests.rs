use super::*;

fn asked<'a>(method: &'a Method, query: Option<&'a str>, headers: &'a HeaderMap) -> Asked<'a> {
    let client = Some(IpAddr::from([10, 1, 2, 3]));
    Asked { only: None, method, host: "t", path: "/", query, headers, client }
}

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    map
}

fn field(place: &str, says: Test) -> Field {
    let place = match place.split_once(':').unwrap() {
        ("header", name) => FieldPlace::Header(name.parse().unwrap()),
        (_, name) => FieldPlace::Query(name.to_owned()),
    };
    Field { place, says }
}

#[test]
fn fields_hold_when_one_of_their_values_does() {
    let exactly = |text: &str| Test::Exactly(text.to_owned());
    let regex = |text: &str| Test::Matches(Pattern::new(text).unwrap());
    let headers = headers(&[("x-tenant", "gold"), ("x-tenant", "trial"), ("x-empty", "")]);
    let query = Some("user=a%20b&user=c&flag&plus=a+b");
    for (place, says, holds) in [
        ("header:x-tenant", exactly("trial"), true),
        ("header:X-Tenant", exactly("Gold"), false),
        ("header:x-tenant", regex("^go"), true),
        ("header:x-tenant", regex("^old"), false),
        ("header:x-tenant", Test::Present(true), true),
        ("header:x-tenant", Test::Present(false), false),
        ("header:x-none", Test::Present(false), true),
        ("header:x-none", exactly(""), false),
        ("header:x-empty", exactly(""), true),
        ("query:user", exactly("a b"), true),
        ("query:user", exactly("c"), true),
        ("query:user", regex("^b"), false),
        ("query:flag", Test::Present(true), true),
        ("query:flag", exactly(""), true),
        ("query:plus", exactly("a b"), true),
        ("query:none", Test::Present(true), false),
    ] {
        let field = field(place, says);
        assert_eq!(field.holds(&asked(&Method::GET, query, &headers)), holds, "{field}");
    }
}

#[test]
fn all_conditions_must_hold_and_the_first_that_does_not_is_told() {
    let conditions = Conditions {
        methods: [Method::POST].into(),
        fields: [field("header:x-tenant", Test::Exactly("gold".to_owned()))].into(),
        clients: ["10.0.0.0/8".parse().unwrap()].into(),
    };
    let gold = headers(&[("x-tenant", "gold")]);
    let why = |method: &Method, headers: &HeaderMap, client: Option<[u8; 4]>| {
        let client = client.map(IpAddr::from);
        let asked = Asked { client, ..asked(method, None, headers) };
        assert_eq!(conditions.hold(&asked), conditions.why_not(&asked).is_none());
        conditions.why_not(&asked)
    };
    assert_eq!(why(&Method::POST, &gold, Some([10, 9, 9, 9])), None);
    assert_eq!(why(&Method::GET, &gold, None).unwrap(), "the method is not POST");
    let text = why(&Method::POST, &HeaderMap::new(), None).unwrap();
    assert_eq!(text, "only where header `x-tenant` is \"gold\"");
    let text = why(&Method::POST, &gold, Some([11, 0, 0, 1])).unwrap();
    assert_eq!(text, "only for clients in 10.0.0.0/8");
    assert!(why(&Method::POST, &gold, None).is_some(), "an unknown client is in no network");
    assert!(Conditions::default().hold(&asked(&Method::GET, None, &HeaderMap::new())));
}

#[test]
fn networks() {
    let holds = |network: &str, address: &str| {
        network.parse::<Network>().unwrap().contains(address.parse().unwrap())
    };
    assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.0"));
    assert!(holds("10.0.0.1", "10.0.0.1") && !holds("10.0.0.1", "10.0.0.2"));
    assert!(holds("0.0.0.0/0", "200.1.1.1") && !holds("0.0.0.0/0", "::1"));
    assert!(holds("10.0.0.0/8", "::ffff:10.0.0.1"));
    assert!(holds("fd00::/8", "fd12::1") && holds("::/0", "1::"));
    assert_eq!("10.0.0.0/33".parse::<Network>(), Err(NotANetwork::Prefix(32)));
    assert_eq!("x/8".parse::<Network>(), Err(NotANetwork::Address));
}

#[test]
fn selectors_find_their_value() {
    let headers = headers(&[("x-user", "u1"), ("cookie", "a=1; session=\"s 1\""), ("x-no", "")]);
    let key = |selector: &str| {
        let selector: Selector = selector.parse().unwrap();
        assert_eq!(selector.to_string().parse(), Ok(selector.clone()));
        selector.key(&asked(&Method::GET, Some("user=q%201"), &headers))
    };
    let of = |text: &str| Some(crate::dice::key(text.as_bytes()));
    assert_eq!(key("header:x-user"), of("u1"));
    assert_eq!(key("cookie:session"), of("s 1"));
    assert_eq!(key("cookie:a"), of("1"));
    assert_eq!(key("cookie:sess"), None);
    assert_eq!(key("query:user"), of("q 1"));
    assert_eq!(key("client-ip"), Some(crate::dice::key(&[10, 1, 2, 3])));
    assert_eq!(key("header:x-no"), None);
    assert_eq!(key("header:x-none"), None);
    for bad in ["header:", "header:a b", "user", "ip:1", ""] {
        assert!(bad.parse::<Selector>().is_err(), "{bad}");
    }
}

#[test]
fn patterns_that_are_none_say_why() {
    assert_eq!(Pattern::new("(").unwrap_err(), "unclosed group");
    assert_eq!(Pattern::new("\\w{1000}{1000}").unwrap_err(), "too large when compiled");
}
