//! The tables by which Casbin tests its models, said in our words: each case must come to the same.
//!
//! The tables lie in the folder that `PORTCULLIS_VECTORS` names, or beside the project in `shared/vectors`.
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use portcullis_authz::{Authorizer, Binding, LiveRoles, Resource, RoleEdit, RoleModel, Roles};
use portcullis_core::Identity;
use serde_json::Value;

/// What our model has no word for.
const NOT_OURS: [(&str, &str); 13] = [
    (
        "TestRBACModelWithDeny",
        "a rule that denies what another one allows: a role permits, and never forbids",
    ),
    ("TestRBACModelWithOnlyDeny", "everything is allowed that no rule denies: we deny by default"),
    (
        "TestRBACModelWithPattern",
        "groups of objects and of users by patterns of a path's segments, and actions by regular expressions",
    ),
    ("TestRBACModelWithDifferentTypesOfRoles", "roles that somebody has until a date"),
    (
        "TestKeyMatch2Model",
        "`:resource` stands for one segment of a path: a role reaches all below a path, or nothing",
    ),
    ("TestKeyMatchCustomModel", "objects are compared by a function of the test"),
    ("TestIPMatchModel", "the subject is a network: addresses are no callers"),
    ("TestGlobMatchModel", "objects by glob patterns"),
    ("TestPriorityModel", "the first rule decides, and may deny"),
    ("TestPriorityModelIndeterminate", "a rule whose effect is that it cannot be told"),
    ("TestAllMatchModel", "a group of objects by a pattern of one segment of a path"),
    ("TestTemporalRolesModel", "roles that somebody has from a date, and until one"),
    ("TestTemporalRolesModelWithDomain", "roles that somebody has from a date, and until one"),
];

fn vectors(file: &str) -> String {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let folder = std::env::var_os("PORTCULLIS_VECTORS").map_or(default, PathBuf::from);
    let path = folder.join("casbin").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn are_there() -> bool {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let folder = std::env::var_os("PORTCULLIS_VECTORS").map_or(default, PathBuf::from);
    if !folder.is_dir() {
        assert!(std::env::var_os("CI").is_none(), "there are no vectors in {}", folder.display());
        eprintln!("skipped: there are no vectors in {}", folder.display());
    }
    folder.is_dir()
}

/// The lines of a policy file by the word that they begin with: `p`, `g`, `g2`.
#[derive(Clone, Default)]
struct Lines(BTreeMap<String, Vec<Vec<String>>>);

impl Lines {
    fn read(file: &str) -> Self {
        let mut lines = Self::default();
        for line in vectors(file).lines().filter(|line| !line.trim().is_empty()) {
            let mut cells = line.split(',').map(|cell| cell.trim().to_owned());
            lines.0.entry(cells.next().unwrap()).or_default().push(cells.collect());
        }
        lines
    }
    fn of<const N: usize>(&self, word: &str) -> Vec<[&str; N]> {
        let lines = self.0.get(word).map_or(&[][..], Vec::as_slice);
        let cells = lines.iter().map(|line| line.iter().map(String::as_str).collect::<Vec<_>>());
        cells.map(|line| line.try_into().expect("as many cells as the model has")).collect()
    }
}

const ISSUER: &str = "casbin";

fn model(edits: impl IntoIterator<Item = RoleEdit>) -> LiveRoles {
    let mut model = RoleModel::default();
    let mut known = BTreeSet::new();
    for edit in edits {
        // A name is a role as soon as somebody speaks of it.
        if let RoleEdit::AddRole(name) = &edit
            && !known.insert(name.clone())
        {
            continue;
        }
        model.apply(&edit).unwrap_or_else(|error| panic!("{edit:?}: {error}"));
    }
    LiveRoles::new(Roles::try_from(model).unwrap())
}
fn may(roles: &LiveRoles, subject: &str, permission: &str, resource: &Resource) -> bool {
    let caller = Identity::builder(ISSUER, subject).build();
    Authorizer::new(roles).may(&caller, permission, resource)
}
fn bound(subject: &str, role: &str) -> Binding {
    Binding::of(ISSUER, None, subject, role)
}
/// What is there is permitted as `object:action`.
fn permission(object: &str, action: &str) -> String {
    format!("{object}:{action}")
}
fn thing(object: &str) -> Resource {
    Resource::new("thing", object)
}

/// How a case is asked in our words.
type Ask = dyn Fn(&LiveRoles, &[&str]) -> bool;

/// A table in our words: who is asked, and what changes before which case.
struct Table {
    roles: LiveRoles,
    ask: Box<Ask>,
    changes: Vec<(usize, Vec<RoleEdit>)>,
}

impl Table {
    fn new(
        edits: impl IntoIterator<Item = RoleEdit>,
        ask: impl Fn(&LiveRoles, &[&str]) -> bool + 'static,
    ) -> Self {
        Self { roles: model(edits), ask: Box::new(ask), changes: Vec::new() }
    }
    fn before(mut self, case: usize, edits: impl IntoIterator<Item = RoleEdit>) -> Self {
        self.changes.push((case, edits.into_iter().collect()));
        self
    }
}

/// Rules and links of `sub, obj, act`: each subject is a role that its user has, and each link an inheritance.
fn by_subject(rules: &[[&str; 3]], links: &[[&str; 2]]) -> Vec<RoleEdit> {
    let mut edits = Vec::new();
    let subjects = rules.iter().map(|[subject, ..]| subject);
    for name in subjects.chain(links.iter().flatten()) {
        edits.extend([RoleEdit::add_role(*name), RoleEdit::Assign(bound(name, name))]);
    }
    for [subject, object, action] in rules {
        edits.push(RoleEdit::permit(*subject, permission(object, action)));
    }
    edits.extend(links.iter().map(|[senior, junior]| RoleEdit::inherit(*senior, *junior)));
    edits
}
fn ask_by_subject(roles: &LiveRoles, asked: &[&str]) -> bool {
    let [subject, object, action] = asked else { panic!("{asked:?}") };
    may(roles, subject, &permission(object, action), &thing(object))
}

/// A role of Casbin's is another one in each domain.
fn in_domain(domain: &str, role: &str) -> String {
    format!("{domain}/{role}")
}
fn by_domain(rules: &[[&str; 4]], links: &[[&str; 3]]) -> Vec<RoleEdit> {
    let mut edits = Vec::new();
    for [role, domain, object, action] in rules {
        edits.push(RoleEdit::add_role(in_domain(domain, role)));
        edits.push(RoleEdit::permit(in_domain(domain, role), permission(object, action)));
    }
    let domains: BTreeSet<_> = rules.iter().map(|[_, domain, ..]| *domain).collect();
    for [user, role, domain] in links {
        // `*` is every domain there is; a rule is for the domain that it names, were it `*`.
        let reached = domains.iter().filter(|it| **it != "*" && (*it == domain || *domain == "*"));
        let reached: Vec<_> = reached.collect();
        for domain in reached {
            let role = in_domain(domain, role);
            edits.push(RoleEdit::add_role(role.as_str()));
            edits.push(RoleEdit::Assign(bound(user, &role).in_tenant(*domain)));
        }
    }
    edits
}
fn ask_by_domain(roles: &LiveRoles, asked: &[&str]) -> bool {
    let [subject, domain, object, action] = asked else { panic!("{asked:?}") };
    may(roles, subject, &permission(object, action), &thing(object).tenant(*domain))
}

/// The words of a table, for those that have any.
fn translated(test: &str, files: &[&str]) -> Option<Table> {
    let file = files.get(1).map(|name| Lines::read(name)).unwrap_or_default();
    let (rules, links) = (|| file.of::<3>("p"), || file.of::<2>("g"));
    let root = [RoleEdit::add_role("root"), RoleEdit::permit("root", "*")];
    let root = root.into_iter().chain([RoleEdit::Assign(bound("root", "root"))]);
    Some(match test {
        "TestBasicModel" | "TestBasicModelWithoutSpaces" | "TestBasicModelNoPolicy"
        | "TestCommentModel" | "TestRBACModel" | "TestRBACModelInMultiLines"
        // The role manager of the test says by itself what the file says.
        | "TestRBACModelWithCustomRoleManager" => {
            Table::new(by_subject(&rules(), &links()), ask_by_subject)
        }
        "TestBasicModelWithRoot" | "TestBasicModelWithRootNoPolicy" => {
            Table::new(by_subject(&rules(), &[]).into_iter().chain(root), ask_by_subject)
        }
        // Everybody is the same one.
        "TestBasicModelWithoutUsers" => {
            let rules = file.of::<2>("p");
            let rules: Vec<_> = rules.iter().map(|[object, action]| ["all", object, action]).collect();
            Table::new(by_subject(&rules, &[]), |roles, asked| {
                ask_by_subject(roles, &[&["all"], asked].concat())
            })
        }
        "TestBasicModelWithoutResources" => {
            let rules = file.of::<2>("p");
            let rules: Vec<_> = rules.iter().map(|[who, action]| [*who, "it", action]).collect();
            Table::new(by_subject(&rules, &[]), |roles, asked| {
                ask_by_subject(roles, &[asked[0], "it", asked[1]])
            })
        }
        // What is permitted with a group is permitted with each object in it.
        "TestRBACModelWithResourceRoles" => {
            let groups = file.of::<2>("g2");
            let rules = rules();
            let expanded = rules.iter().flat_map(|[subject, object, action]| {
                let inside = groups.iter().filter(move |[_, group]| group == object);
                let objects = inside.map(|[object, _]| *object).chain([*object]);
                objects.map(move |object| [*subject, object, action])
            });
            Table::new(by_subject(&expanded.collect::<Vec<_>>(), &links()), ask_by_subject)
        }
        "TestRBACModelWithDomains" | "TestDomainMatchModel" => {
            Table::new(by_domain(&file.of("p"), &file.of("g")), ask_by_domain)
        }
        // The test writes what the file of the same model says, and takes some of it away after each eight cases.
        "TestRBACModelWithDomainsAtRuntime" => {
            let file = Lines::read("examples/rbac_with_domains_policy.csv");
            let first = in_domain("domain1", "admin");
            Table::new(by_domain(&file.of("p"), &file.of("g")), ask_by_domain)
                .before(
                    8,
                    ["read", "write"]
                        .map(|action| RoleEdit::forbid(first.as_str(), permission("data1", action))),
                )
                .before(16, [RoleEdit::forbid(in_domain("domain2", "admin"), "data2:read")])
        }
        // The same, with a third domain.
        "TestRBACModelWithDomainsAtRuntimeMockAdapter" => {
            let file = Lines::read("examples/rbac_with_domains_policy.csv");
            let (mut rules, mut links) = (file.of::<4>("p"), file.of::<3>("g"));
            rules.push(["admin", "domain3", "data1", "read"]);
            links.push(["alice", "admin", "domain3"]);
            let first = in_domain("domain1", "admin");
            Table::new(by_domain(&rules, &links), ask_by_domain)
                .before(
                    2,
                    ["read", "write"]
                        .map(|action| RoleEdit::forbid(first.as_str(), permission("data1", action))),
                )
                .before(4, [RoleEdit::forbid(in_domain("domain2", "admin"), "data2:read")])
        }
        // The test gives Bob a role, and takes it away after eight cases; what else it says with it is for nobody.
        "TestRBACModelWithCustomData" => {
            let mut table = Table::new(by_subject(&rules(), &links()), ask_by_subject);
            table = table.before(0, [RoleEdit::inherit("bob", "data2_admin")]);
            table.before(8, [RoleEdit::disinherit("bob", "data2_admin")])
        }
        "TestKeyMatchModel" => by_path(&rules()),
        "TestReBACModel" => by_relation(&rules(), &file.of("g"), &file.of("g2")),
        _ => return None,
    })
}

/// A path as a permission: `GET:` and its segments with colons between them, so that `/*` at its end is our `:*`.
fn by_path(rules: &[[&str; 3]]) -> Table {
    let words = |action: &str| {
        let words = action.split('|').map(|word| word.trim_matches(['(', ')']).to_owned());
        let words: Vec<_> = words.collect();
        assert!(words.iter().all(|word| word.chars().all(char::is_alphabetic)), "{action}");
        words
    };
    let mut edits = Vec::new();
    for [subject, object, action] in rules {
        edits.extend([RoleEdit::add_role(*subject), RoleEdit::Assign(bound(subject, subject))]);
        let edit = |word: String| RoleEdit::permit(*subject, as_colons(&word, object));
        edits.extend(words(action).into_iter().map(edit));
    }
    Table::new(edits, |roles, asked| {
        let [subject, object, action] = asked else { panic!("{asked:?}") };
        may(roles, subject, &as_colons(action, object), &thing(object))
    })
}

/// A relation to an object is a role at its path, and what it permits is said of the object's type.
fn by_relation(rules: &[[&str; 3]], links: &[[&str; 3]], types: &[[&str; 2]]) -> Table {
    let mut edits = Vec::new();
    for [role, kind, action] in rules {
        edits
            .extend([RoleEdit::add_role(*role), RoleEdit::permit(*role, permission(kind, action))]);
    }
    for [user, object, role] in links {
        edits.push(RoleEdit::Assign(bound(user, role).at(format!("/{object}"))));
    }
    let types: BTreeMap<String, String> =
        types.iter().map(|[object, kind]| ((*object).to_owned(), (*kind).to_owned())).collect();
    Table::new(edits, move |roles, asked| {
        let [subject, object, action] = asked else { panic!("{asked:?}") };
        let kind = types.get(*object).map_or(*object, String::as_str);
        let resource = Resource::new(kind, *object).path(format!("/{object}"));
        may(roles, subject, &permission(kind, action), &resource)
    })
}

fn as_colons(action: &str, path: &str) -> String {
    format!("{action}:{}", path.replace('/', ":"))
}

#[test]
fn what_casbin_decides_by_models_that_are_ours_too_we_decide_alike() {
    if !are_there() {
        return;
    }
    let tables: Vec<Value> = serde_json::from_str(&vectors("model_test_assertions.json")).unwrap();
    let (mut asked, mut left, mut run) = (0, 0, Vec::new());
    for table in &tables {
        let test = table["test"].as_str().unwrap();
        let files: Vec<_> =
            table["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap()).collect();
        let cases = table["cases"].as_array().unwrap();
        let is_listed = NOT_OURS.iter().any(|(name, _)| *name == test);
        let Some(Table { roles, ask, changes }) = translated(test, &files) else {
            assert!(is_listed, "{test} is neither said in our words nor on the list");
            left += cases.len();
            continue;
        };
        assert!(!is_listed, "{test} is on the list, and said in our words");
        for (at, case) in cases.iter().enumerate() {
            for (_, edits) in changes.iter().filter(|(before, _)| *before == at) {
                roles.change(edits).unwrap();
            }
            let words: Vec<_> = case["args"]
                .as_array()
                .unwrap()
                .iter()
                .map(|word| word.as_str().unwrap())
                .collect();
            let allow = case["allow"].as_bool().unwrap();
            assert_eq!(ask(&roles, &words), allow, "{test}, case {at}: {words:?}");
        }
        asked += cases.len();
        run.push(test);
    }
    for (name, _) in NOT_OURS {
        assert!(tables.iter().any(|table| table["test"] == name), "{name} is no table");
    }
    assert_eq!((run.len(), asked, left), (19, 190, 135), "{run:?}");
}
