use super::*;

fn read(
    preset: Preset,
    scope: Scope,
    asked: Fields<'_>,
    is_authenticated: bool,
    given: Fields<'_>,
) -> Result<Stored, NotStored> {
    let headers = fields(asked);
    let asked = Asked { method: &Method::GET, headers: &headers, is_authenticated };
    Stored::new(&Rules::new(preset), scope, None, asked, &head(200, given), now(0))
}

#[test]
fn what_somebody_got_is_for_all_only_where_the_origin_says_so() {
    for (said, rfc, app) in [
        ("max-age=9", false, false),
        ("max-age=9, public", true, true),
        ("s-maxage=9", true, true),
        ("max-age=9, must-revalidate", true, false),
        ("max-age=9, proxy-revalidate", false, false),
    ] {
        for (preset, want) in [(RFC, rfc), (APP, app)] {
            let read = read(
                preset,
                Scope::Public,
                &[("authorization", "x")],
                true,
                &[("cache-control", said)],
            );
            assert_eq!(
                read.as_ref().err(),
                (!want).then_some(&NotStored::Authenticated),
                "{said} {preset:?}"
            );
            assert!(
                read.is_ok_and(|stored| stored.is_explicitly_public()) == want,
                "{said} {preset:?}"
            );
        }
    }
    // A cookie, or a scheme that needs no `Authorization`.
    let given = &[("cache-control", "max-age=9")];
    assert_eq!(
        read(APP, Scope::Public, &[("cookie", "a=b")], true, given).unwrap_err(),
        NotStored::Authenticated
    );
    assert!(read(RFC, Scope::Public, &[("cookie", "a=b")], true, given).is_ok());
    assert!(!read(APP, Scope::Public, &[], false, given).unwrap().is_explicitly_public());
}

#[test]
fn the_origin_widens_the_scope_and_private_does_not() {
    for (scope, said, want) in [
        (Scope::Identity, "max-age=9", Ok(Scope::Identity)),
        (Scope::Identity, "max-age=9, private", Ok(Scope::Identity)),
        (Scope::Identity, "max-age=9, public", Ok(Scope::Public)),
        (Scope::Identity, "s-maxage=9", Ok(Scope::Public)),
        (Scope::Identity, "s-maxage=9, private", Ok(Scope::Identity)),
        (Scope::Identity, "max-age=9, must-revalidate", Ok(Scope::Identity)),
        (Scope::Tenant, "max-age=9", Ok(Scope::Tenant)),
        (Scope::Tenant, "max-age=9, private", Err(NotStored::Private)),
        (Scope::Tenant, "max-age=9, private, public", Err(NotStored::Private)),
        (Scope::Tenant, "max-age=9, public", Ok(Scope::Public)),
        (Scope::Public, "max-age=9, private", Err(NotStored::Private)),
        // Whoever says nothing of time says nothing of others.
        (Scope::Identity, "no-cache", Err(NotStored::Unknown)),
        (Scope::Tenant, "private=x", Err(NotStored::Unknown)),
    ] {
        for preset in [RFC, APP] {
            let given = &[("cache-control", said), ("etag", "\"a\""), ("last-modified", "@-90000")];
            let read = read(preset, scope, &[("authorization", "x")], true, given);
            assert_eq!(read.map(|stored| stored.scope()), want, "{scope:?} {said} {preset:?}");
        }
    }
}

#[test]
fn private_fields_are_for_one() {
    let given = &[("cache-control", "max-age=9, private=\"x-name\""), ("x-name", "Ada")];
    for (scope, want) in [(Scope::Identity, true), (Scope::Tenant, false)] {
        let stored = read(APP, scope, &[], true, given).unwrap();
        assert_eq!(stored.headers().contains_key("x-name"), want, "{scope:?}");
    }
}

#[test]
fn cookies_are_set_for_one() {
    let given = &[("cache-control", "max-age=9, public"), ("set-cookie", "a=b")];
    assert!(
        read(RFC, Scope::Public, &[], false, given).unwrap().headers().contains_key("set-cookie")
    );
    for scope in [Scope::Public, Scope::Tenant, Scope::Identity] {
        assert_eq!(
            read(APP, scope, &[], false, given).unwrap_err(),
            NotStored::SetCookie,
            "{scope:?}"
        );
    }
    let apart = &[("cache-control", "max-age=9, no-cache=\"set-cookie\""), ("set-cookie", "a=b")];
    let stored = read(APP, Scope::Public, &[], false, apart).unwrap();
    assert!(!stored.headers().contains_key("set-cookie"));
}
