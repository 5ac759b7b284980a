//! Mistakes are told when policies are built, with their place.
use portcullis_authz::cedar::CedarPolicies;

const SCHEMA: &str = "
    entity Role, Tenant;
    entity Route = { path: String };
    entity User in [Role] = { subject: String, plan?: String };
    action GET, POST appliesTo { principal: User, resource: Route, context: { time: Long } };
";

/// What is wrong, one text each.
fn wrong(policies: &str, schema: Option<&str>) -> Vec<String> {
    let builder = CedarPolicies::builder(policies);
    let builder = match schema {
        Some(schema) => builder.schema(schema),
        None => builder,
    };
    let errors = builder.build().expect_err(policies);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn what_cannot_be_read_is_told_with_its_line() {
    let told = wrong("permit(principal, action, resource);\nforbid(principal, action);", None);
    assert_eq!(
        told,
        [
            "Cedar policies, line 2, column 25: this policy is missing the `resource` variable in the scope: \
                       policy scopes must contain a `principal`, `action`, and `resource` element in that order"
        ]
    );
    let told = wrong("permit(principal, action, resource) when { 1 +¡ };", None);
    assert!(told[0].starts_with("Cedar policies, line 1, column 47: "), "{told:?}");
    let told = wrong("", Some("entity User;\nentity Thing in [Nothing];"));
    assert!(told[0].starts_with("Cedar schema") && told[0].contains("Nothing"), "{told:?}");
    let told = wrong("", Some("entity User\nentity Thing;"));
    assert!(told[0].starts_with("Cedar schema, line 2, column 1: "), "{told:?}");
}

#[test]
fn policies_that_do_not_fit_the_schema_are_told_all_at_once() {
    let policies = r#"
        @id("typo")
        permit(principal, action, resource) when { principal.subjekt == "ada" };
        @id("optional")
        permit(principal, action, resource) when { principal.plan == "pro" };
        @id("types")
        permit(principal, action, resource) when { context.time < "9" };
        @id("unknown") permit(principal == Bot::"x", action == Action::"BREW", resource);
        @id("good") permit(principal, action, resource);
    "#;
    let told = wrong(policies, Some(SCHEMA));
    let places = [
        ("Cedar policy `optional`, line 5, column 52: ", "plan"),
        ("Cedar policy `types`, line 7, column 67: ", "Long"),
        ("Cedar policy `typo`, line 3, column 52: ", "subjekt"),
        ("Cedar policy `unknown`, line 8, column ", "Action::\"BREW\""),
        ("Cedar policy `unknown`, line 8, column ", "Bot"),
    ];
    assert_eq!(told.len(), places.len(), "{told:#?}");
    for (place, what) in places {
        assert!(
            told.iter().any(|it| it.starts_with(place) && it.contains(what)),
            "{place}: {told:#?}"
        );
    }
}

#[test]
fn a_policy_that_can_never_apply_is_a_mistake_unless_it_is_meant() {
    // The schema does not declare that users have tenants, so what forbids by tenant would forbid nothing.
    let never = r#"
        @id("rivals") forbid(principal, action, resource) when { principal in Tenant::"rival" };
        @id("extra") forbid(principal, action, resource) when { principal has tenant && principal.tenant == "x" };
    "#;
    let told = wrong(never, Some(SCHEMA));
    assert_eq!(
        told,
        [
            "Cedar policy `extra`, line 3, column 9: policy is impossible: the policy expression evaluates to false for all valid requests",
            "Cedar policy `rivals`, line 2, column 9: policy is impossible: the policy expression evaluates to false for all valid requests",
        ]
    );
    CedarPolicies::builder(never).schema(SCHEMA).allow_impossible().build().unwrap();
    let nobody =
        r#"@id("wrong-way") forbid(principal is Route, action == Action::"GET", resource);"#;
    let builder = CedarPolicies::builder(nobody).schema(SCHEMA).allow_impossible();
    let errors = builder.build().unwrap_err();
    assert!(
        errors.to_string().starts_with("Cedar policy `wrong-way`, line 1, column 1"),
        "{errors}"
    );
}

#[test]
fn a_name_is_that_of_one_policy() {
    let text = "@id(\"a\") permit(principal, action, resource);
                @id(\"a\") forbid(principal, action, resource);
                @id(\"policy3\") forbid(principal, action, resource);
                permit(principal, action, resource);
                @id(\"\") permit(principal, action, resource);";
    let told = wrong(text, None);
    let why = "two policies are called so: give each an `@id` of its own";
    assert_eq!(
        told,
        [format!("Cedar policy `a`: {why}"), format!("Cedar policy `policy3`: {why}")]
    );
}

#[test]
fn a_template_is_not_taken_for_a_policy() {
    let told = wrong("forbid(principal == ?principal, action, resource);", None);
    assert_eq!(
        told,
        [
            "Cedar policy `policy0`: it is a template, and nobody fills it in: say what `?principal` and \
                       `?resource` stand for"
        ]
    );
}

#[test]
fn static_entities_have_to_fit() {
    let all = "permit(principal, action, resource);";
    for (json, schema, what) in [
        ("[", None, "Cedar entities: "),
        (r#"[{"uid":{"type":"Role","id":"a"},"attrs":{"x":1},"parents":[]}]"#, Some(SCHEMA), "`x`"),
        (r#"[{"uid":{"type":"Bot","id":"a"},"attrs":{},"parents":[]}]"#, Some(SCHEMA), "Bot"),
    ] {
        let builder = CedarPolicies::builder(all).entities_json(json);
        let builder = match schema {
            Some(schema) => builder.schema(schema),
            None => builder,
        };
        let error = builder.build().unwrap_err().to_string();
        assert!(error.starts_with("Cedar entities") && error.contains(what), "{error}");
    }
}

#[test]
fn headers_that_nobody_would_see_are_told() {
    let schema = r#"
        entity User, Route;
        type Headers = { "x-role"?: Set<String>, "X-Mode"?: Set<String>, "x-seen"?: Set<String> };
        action GET appliesTo { principal: User, resource: Route, context: { headers: Headers } };
    "#;
    let builder = CedarPolicies::builder("permit(principal, action, resource);").schema(schema);
    let errors = builder.header("X-Seen").header("x mode").build().unwrap_err();
    let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "Cedar policies: `x mode` is no name of a header",
            "Cedar schema: it declares the header `X-Mode`: the names of headers are in lower case, `x-mode`",
            "Cedar schema: it declares the header `x-role`, which policies do not see: say `header(\"x-role\")`",
        ]
    );
}
