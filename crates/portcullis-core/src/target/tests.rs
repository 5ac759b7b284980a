use proptest::prelude::*;

use super::*;

fn strict(path: &str) -> Result<String, TargetError> {
    canonical_path(path, &TargetRules::strict()).map(std::borrow::Cow::into_owned)
}

#[test]
fn a_path_has_one_spelling() {
    for (path, want) in [
        ("/", "/"),
        ("/books/7", "/books/7"),
        ("/a/./b", "/a/b"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/a/../b", "/b"),
        ("/%41dmin", "/Admin"),
        ("/a%2ex", "/a.x"),
        ("/pub../x", "/pub../x"),
        ("/public/%2e%2e/api/me", "/api/me"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/a%3ab", "/a%3Ab"),
        ("/a|b{c}", "/a%7Cb%7Bc%7D"),
        ("/a%252fb", "/a%252fb"),
        ("/...", "/..."),
    ] {
        assert_eq!(strict(path).as_deref(), Ok(want), "{path}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    use TargetError::*;
    for (path, want) in [
        ("", NotAbsolute),
        ("books", NotAbsolute),
        ("*", NotAbsolute),
        ("/public/..%2fadmin", EncodedSlash),
        ("/%5cadmin", Backslash),
        ("/\\admin", Backslash),
        ("/a;x=1", Parameter),
        ("/a%3bx", Parameter),
        ("/a%00", Control),
        ("/a%0a", Control),
        ("/a%e2%80%a8", Control),
        ("/a%c2%85", Control),
        ("/a\tb", Control),
        ("/a b", NotAllowed),
        ("/a#b", NotAllowed),
        ("/é", NotAllowed),
        ("/a%zz", BadEscape),
        ("/a%4", BadEscape),
        ("/a%", BadEscape),
        ("/a%ff", NotText),
        ("/a%c0%af", NotText),
        ("/..", AboveRoot),
        ("/a/../../b", AboveRoot),
        ("/%2e%2e/b", AboveRoot),
        ("//admin", EmptySegment),
        ("/a//b", EmptySegment),
        ("/a//", EmptySegment),
    ] {
        assert_eq!(strict(path), Err(want), "{path}");
    }
}

#[test]
fn a_rule_opens_exactly_what_it_names() {
    let rules = TargetRules::strict().allow_encoded_slash().merge_slashes().allow_parameters();
    let read = |path| canonical_path(path, &rules).map(std::borrow::Cow::into_owned);
    assert_eq!(read("/a%2fb"), Ok("/a%2Fb".into()));
    assert_eq!(read("//a///b//"), Ok("/a/b/".into()));
    assert_eq!(read("/a;x%3by"), Ok("/a;x%3By".into()));
    for hidden in
        ["/a/..;/b", "/a/%2e%2e;x/b", "/a/..%2fb", "/a/x%2f%2e%2e", "/a/..%3b/b", "/a/.;/b"]
    {
        assert_eq!(read(hidden), Err(TargetError::HiddenDots), "{hidden}");
    }
    assert_eq!(read("/a%5cb"), Err(TargetError::Backslash));
}

fn read(uri: &str, hosts: &[&str], scheme: Scheme) -> Result<String, TargetError> {
    let mut request = Request::builder().uri(uri);
    for host in hosts {
        request = request.header(HOST, *host);
    }
    let target = Target::of(&request.body(()).unwrap(), scheme, None, &TargetRules::strict())?;
    Ok(format!("{}://{}{}", target.scheme().as_str(), target.authority(), target.path_and_query()))
}

#[test]
fn a_host_has_one_spelling_and_no_rival() {
    use TargetError::*;
    for (uri, hosts, want) in [
        ("/x?a=%2f", &["shop.example"] as &[_], Ok("http://shop.example/x?a=%2f")),
        ("/x", &["Shop.Example.:80"], Ok("http://shop.example/x")),
        ("/x", &["shop.example:8080"], Ok("http://shop.example:8080/x")),
        ("/x", &["[::0001]:80"], Ok("http://[::1]/x")),
        ("http://shop.example/x", &["shop.example"], Ok("http://shop.example/x")),
        ("http://shop.example/x", &["SHOP.example:80"], Ok("http://shop.example/x")),
        ("http://Shop.example/x", &[], Ok("http://shop.example/x")),
        ("http://evil.example/x", &["shop.example"], Err(HostMismatch)),
        ("/x", &[], Err(NoHost)),
        ("/x", &["a", "b"], Err(TwoHosts)),
        ("/x", &["a", "a"], Err(TwoHosts)),
        ("/x", &[""], Err(BadHost)),
        ("/x", &["a,b"], Err(BadHost)),
        ("/x", &["user@a"], Err(BadHost)),
        ("/x", &["a b"], Err(BadHost)),
        ("/x", &["a/b"], Err(BadHost)),
        ("/x", &["a..b"], Err(BadHost)),
        ("/x", &["a:99999"], Err(BadHost)),
        ("/x", &["a:+1"], Err(BadHost)),
        ("/x", &["a:0"], Err(BadHost)),
        ("/x", &["[::1"], Err(BadHost)),
        ("/x", &["%61"], Err(BadHost)),
        ("/x", &["[evil"], Err(BadHost)),
        ("/x", &["[user@evil"], Err(BadHost)),
        ("/x", &["[::1]evil"], Err(BadHost)),
        ("/x", &["[evil]"], Err(BadHost)),
        ("/x", &["a]"], Err(BadHost)),
        ("http://a?q=1", &[], Ok("http://a/?q=1")),
        ("ftp://a/x", &[], Err(BadScheme)),
        ("*", &["a"], Err(NotAbsolute)),
    ] {
        assert_eq!(read(uri, hosts, Scheme::Http), want.map(str::to_owned), "{uri} {hosts:?}");
    }
    assert_eq!(read("/", &["a:443"], Scheme::Https).as_deref(), Ok("https://a/"));
}

#[test]
fn the_uri_is_rewritten_in_its_own_form() {
    for (uri, want) in
        [("/a/./b?q", "/a/b?q"), ("http://h/a/./b", "http://h/a/b"), ("/same", "/same")]
    {
        let mut request = Request::builder().uri(uri).header(HOST, "h").body(()).unwrap();
        let target = Target::of(&request, Scheme::Http, None, &TargetRules::strict()).unwrap();
        target.apply_to(request.uri_mut());
        assert_eq!(
            (request.uri().to_string().as_str(), target.matches(request.uri())),
            (want, true)
        );
        assert_eq!(target.original().map(Uri::to_string), (uri != want).then(|| uri.to_owned()));
    }
}

#[test]
fn the_other_spelling_decodes_reserved_characters_only() {
    assert_eq!(other_spelling("/a%3Ab%40").as_deref(), Some("/a:b@"));
    assert_eq!(other_spelling("/a%2Fb%25%3F%C3%A9"), None);
    assert_eq!(other_spelling("/plain"), None);
}

proptest! {
    #[test]
    fn normalising_twice_is_normalising_once(
        path in "/([a-c./%;:@]|%2[eEfF]|%5c|%[0-9a-f]{2}|\\.\\./|[ -~]){0,24}",
        encoded_slash: bool, merge: bool, keep: bool, parameters: bool,
    ) {
        let mut rules = TargetRules::strict();
        if encoded_slash { rules = rules.allow_encoded_slash(); }
        if merge { rules = rules.merge_slashes(); }
        if keep { rules = rules.keep_empty_segments(); }
        if parameters { rules = rules.allow_parameters(); }
        if let Ok(once) = canonical_path(&path, &rules) {
            prop_assert_eq!(canonical_path(&once, &rules).unwrap(), once.clone());
            prop_assert!(once.starts_with('/'));
            prop_assert!(!once.split('/').any(|segment| matches!(segment, "." | "..")));
            prop_assert!(PathAndQuery::try_from(once.as_ref()).is_ok());
        }
    }
    #[test]
    fn any_text_gets_an_answer(path in ".*", host in ".*") {
        let _ = strict(&path);
        let _ = authority::check(&host, Scheme::Http).is_ok();
    }
}
