//! The rows that a filter finds are those that a check allows.
use portcullis_authz::{
    Authorizer, Binding, Columns, Resource, RoleEdit, RoleModel, Roles, Scope, SqlDialect,
};
use portcullis_core::Identity;
use portcullis_sqlx::FilterExt;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};
use sqlx::{AssertSqlSafe, Executor, QueryBuilder};
use tokio::runtime::Handle;

use crate::support::{with_mysql, with_postgres, with_sqlite};

/// How many cases there are for each database.
const CASES: u32 = 500;

const ROLES: [&str; 5] = ["reader", "clerk", "manager", "auditor", "Clerk"];
const ACTIONS: [&str; 4] = ["orders:read", "orders:write", "books:read", "till:open"];
const PERMISSIONS: [&str; 8] =
    ["orders:read", "orders:write", "orders:*", "*:read", "*", "books:read", "Orders:read", "till"];
const ISSUERS: [&str; 4] = ["https://id.example", "HTTPS://id.example", "i|d", "i\\"];
/// What a database may take for the same, or for something else.
const WORDS: [&str; 22] = [
    "acme",
    "Acme",
    "ACME",
    "acme ",
    " acme",
    "acm\u{e9}",
    "acme\u{301}",
    "%",
    "_cme",
    "a%",
    "a'me",
    "a\"c\\me",
    "\u{1f600}",
    "\u{1f601}",
    "stra\u{df}e",
    "strasse",
    "",
    "a|me",
    "acme\0",
    "\u{130}",
    "i",
    "\u{212a}",
];
const PATHS: [&str; 22] = [
    "/acme",
    "/Acme",
    "/acme/p",
    "/acme/P",
    "/acme/p/7",
    "/acme/pp",
    "/acme/p /7",
    "/acme/p ",
    "/acm_",
    "/%",
    "/%/p",
    "/acm\u{e9}/p",
    "/acme\u{301}/p",
    "/\u{1f600}",
    "/\u{1f600}/p",
    "/\u{1f601}/p",
    "/'/\"\\",
    "/stra\u{df}e/7",
    "/strasse/7",
    "/\u{df}",
    "/ss",
    "/acme/p/7/plans",
];
/// Only rows have them.
const ODD_PATHS: [&str; 5] = ["", "/", "/acme/", "/acme//p", "acme/p"];

type Row = (Option<&'static str>, Option<String>, Option<String>);

#[derive(Clone, Debug)]
struct Case {
    edits: Vec<RoleEdit>,
    caller: Identity,
    action: &'static str,
    rows: Vec<Row>,
    /// Which columns the table has, and whether they are those that take alike texts for the same.
    has: [bool; 3],
    alike: bool,
}

/// What a case has its texts from: few, so that they meet.
#[derive(Clone, Debug)]
struct Pool {
    issuers: Vec<&'static str>,
    words: Vec<&'static str>,
    paths: Vec<&'static str>,
}

fn pool() -> impl Strategy<Value = Pool> {
    let issuers = subsequence(ISSUERS.to_vec(), 1..3);
    // Those that some database takes for the same, or any.
    let words = prop_oneof![
        subsequence(WORDS[..7].to_vec(), 2..6),
        subsequence(WORDS[12..16].to_vec(), 2..5),
        subsequence(WORDS.to_vec(), 2..6),
    ];
    let paths = prop_oneof![
        subsequence(PATHS[..13].to_vec(), 3..8),
        subsequence(PATHS[13..].to_vec(), 3..6),
        subsequence(PATHS.to_vec(), 3..8),
    ];
    (issuers, words, paths).prop_map(|(issuers, words, paths)| Pool { issuers, words, paths })
}

fn identity(pool: Pool) -> impl Strategy<Value = Identity> {
    let roles = subsequence(ROLES.to_vec(), 0..4);
    let active = prop::option::weighted(0.2, subsequence(ROLES.to_vec(), 1..4));
    let tenant = prop::option::of(select(pool.words.clone()));
    let who = (select(pool.issuers), tenant, select(pool.words), roles, active);
    who.prop_map(|(issuer, tenant, subject, roles, active)| {
        let mut identity = Identity::builder(issuer, subject).roles(roles);
        if let Some(tenant) = tenant {
            identity = identity.tenant(tenant);
        }
        if let Some(active) = active {
            identity = identity.active_roles(active);
        }
        identity.build()
    })
}

fn edits(pool: Pool, caller: Identity) -> impl Strategy<Value = Vec<RoleEdit>> {
    let role = || select(&ROLES[..]);
    let (mine, holder_of_grant) = (caller.clone(), caller.clone());
    let scope = prop_oneof![
        1 => Just(Scope::Everywhere),
        3 => select(pool.words.clone()).prop_map(|word| Scope::Tenant(word.into())),
        4 => select(pool.paths.clone()).prop_map(|path| Scope::Path(path.into())),
    ];
    let granted = scope.clone();
    let holder = prop_oneof![1 => Just(caller), 2 => identity(pool)];
    let assign = (holder, role(), scope.clone()).prop_map(|(holder, role, scope)| {
        RoleEdit::Assign(Binding::for_key(holder.key(), role).within(scope))
    });
    let to_caller = (role(), scope).prop_map(move |(role, scope)| {
        RoleEdit::Assign(Binding::for_key(mine.key(), role).within(scope))
    });
    let permission = || select(&PERMISSIONS[..]);
    let edit = prop_oneof![
        3 => (role(), permission()).prop_map(|(role, it)| RoleEdit::permit(role, it)),
        5 => (role(), permission()).prop_map(|(role, it)| RoleEdit::permit_own(role, it)),
        2 => (role(), role()).prop_map(|(one, other)| RoleEdit::inherit(one, other)),
        2 => assign,
        5 => to_caller,
        1 => (subsequence(ROLES.to_vec(), 2..4), any::<bool>()).prop_map(|(roles, fixed)| {
            if fixed {
                RoleEdit::separate_statically("s", roles, 2)
            } else {
                RoleEdit::separate_dynamically("d", roles, 2)
            }
        }),
    ];
    // Most callers may do something somewhere.
    let grant = (role(), granted, any::<bool>()).prop_map(move |(role, scope, own)| {
        let permit =
            if own { RoleEdit::permit_own(role, "*") } else { RoleEdit::permit(role, "*") };
        let binding = Binding::for_key(holder_of_grant.key(), role).within(scope);
        vec![permit, RoleEdit::Assign(binding)]
    });
    let more = prop::collection::vec(edit, 0..10);
    (prop::option::weighted(0.6, grant), more)
        .prop_map(|(grant, edits)| grant.into_iter().flatten().chain(edits).collect())
}

fn row(pool: Pool, caller: &Identity) -> impl Strategy<Value = Row> + use<> {
    let own = caller.key().to_string();
    let owner = prop_oneof![
        3 => Just(own.clone()),
        2 => identity(pool.clone()).prop_map(|it| it.key().to_string()),
        1 => select(pool.words.clone()).prop_map(str::to_owned),
        1 => select(vec![own.to_uppercase(), own.to_lowercase(), format!("{own} "), format!("{own}x")]),
    ];
    let mut tenants = pool.words;
    tenants.extend(WORDS.iter().copied().filter(|it| Some(*it) == caller.tenant()));
    // At one of the paths, below it, beside it, or at another one.
    let near = (select(pool.paths.clone()), select(vec!["", "/7", "/7/p", "x", " ", "/", "%"]));
    let path = prop_oneof![
        3 => near.prop_map(|(path, rest)| format!("{path}{rest}")),
        3 => select(pool.paths.clone()).prop_map(str::to_owned),
        1 => select(pool.paths).prop_map(str::to_uppercase),
        1 => select(&PATHS[..]).prop_map(str::to_owned),
        1 => select(&ODD_PATHS[..]).prop_map(str::to_owned),
    ];
    (prop::option::of(select(tenants)), prop::option::of(owner), prop::option::of(path))
}

fn case() -> impl Strategy<Value = Case> {
    let caller = pool().prop_flat_map(|pool| (Just(pool.clone()), identity(pool)));
    caller.prop_flat_map(|(pool, caller)| {
        let has = prop_oneof![3 => Just([true; 3]), 1 => any::<[bool; 3]>()];
        let rows = prop::collection::vec(row(pool.clone(), &caller), 1..40);
        let edits = edits(pool, caller.clone());
        (edits, Just(caller), select(&ACTIONS[..]), rows, has, any::<bool>()).prop_map(
            |(edits, caller, action, rows, has, alike)| Case {
                edits,
                caller,
                action,
                rows,
                has,
                alike,
            },
        )
    })
}

impl Case {
    fn roles(&self) -> Roles {
        let mut model = RoleModel::default();
        let names = ROLES.iter().map(|role| RoleEdit::add_role(*role));
        for edit in names.chain(self.edits.iter().cloned()) {
            // Some are refused, as those that close a circle.
            _ = model.apply(&edit);
        }
        Roles::try_from(model).unwrap()
    }
    fn columns(&self) -> Columns {
        let [tenant, owner, path] = self.has;
        let mut columns = Columns::new();
        if tenant {
            columns = columns.tenant(if self.alike { "tenant_alike" } else { "tenant" });
        }
        if owner {
            columns = columns.owner(if self.alike { "owner_alike" } else { "owner" });
        }
        if path {
            columns = columns.path(if self.alike { "path_alike" } else { "path" });
        }
        columns
    }
    fn resource(&self, (tenant, owner, path): &Row) -> Resource {
        let [has_tenant, has_owner, has_path] = self.has;
        let mut resource = Resource::new("order", "1");
        if let Some(tenant) = tenant.filter(|_| has_tenant) {
            resource = resource.tenant(tenant);
        }
        if let Some(owner) = owner.as_deref().filter(|_| has_owner) {
            resource = resource.owner(owner);
        }
        if let Some(path) = path.as_deref().filter(|_| has_path) {
            resource = resource.path(path);
        }
        resource
    }
}

/// What the cases had in them.
#[derive(Debug, Default)]
struct Seen {
    rows: usize,
    allowed: usize,
    some: usize,
}

/// The same on each database.
macro_rules! exact {
    ($name:ident, $with:ident, $database:ty, $dialect:ident, $tables:expr, $takes_nul:literal) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            $with(async |pool| {
                for statement in $tables {
                    pool.execute(statement).await.unwrap();
                }
                let seen = std::cell::RefCell::new(Seen::default());
                let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
                let check = async |case: Case| {
                    let mut case = case;
                    if !$takes_nul {
                        case.rows.retain(|(tenant, owner, _)| {
                            let has_nul = |text: &&str| text.contains('\0');
                            tenant.filter(has_nul).is_none()
                                && owner.as_deref().filter(has_nul).is_none()
                        });
                    }
                    // The table is empty again after each.
                    let mut one = pool.begin().await.unwrap();
                    if !case.rows.is_empty() {
                        let mut insert = QueryBuilder::<$database>::new(
                            "INSERT INTO t (id, tenant, owner, path, tenant_alike, owner_alike, path_alike) ",
                        );
                        insert.push_values((0_i64..).zip(&case.rows), |mut row, (id, it)| {
                            row.push_bind(id);
                            for _ in 0..2 {
                                let (tenant, owner, path) = it.clone();
                                row.push_bind(tenant).push_bind(owner).push_bind(path);
                            }
                        });
                        insert.build().execute(&mut *one).await.unwrap();
                    }
                    let authorizer = Authorizer::new(case.roles());
                    let filter = authorizer.filter(&case.caller, case.action, case.columns());
                    let filter = filter.unwrap();
                    let resources: Vec<_> = case.rows.iter().map(|it| case.resource(it)).collect();
                    let ids = |allowed: &dyn Fn(&Resource) -> bool| -> Vec<i64> {
                        let rows = (0_i64..).zip(&resources);
                        rows.filter(|(_, it)| allowed(it)).map(|(id, _)| id).collect()
                    };
                    let checked = ids(&|it| authorizer.may(&case.caller, case.action, it));
                    // Something is bound before it and behind it.
                    let mut query = QueryBuilder::<$database>::new("SELECT id FROM t WHERE id >= ");
                    query.push_bind(0_i64).push(" AND ").push_filter(&filter);
                    query.push(" AND id < ").push_bind(1_000_i64).push(" ORDER BY id");
                    let found: Vec<(i64,)> =
                        query.build_query_as().fetch_all(&mut *one).await.unwrap();
                    let found: Vec<i64> = found.into_iter().map(|(id,)| id).collect();
                    prop_assert_eq!(&found, &checked, "by the query {}", query.sql().as_str());
                    let (condition, values) = filter.sql(SqlDialect::$dialect, 1);
                    let text = format!("SELECT id FROM t WHERE {condition} ORDER BY id");
                    let mut query = sqlx::query_as::<$database, (i64,)>(AssertSqlSafe(text));
                    for value in values {
                        query = query.bind(value);
                    }
                    let found = query.fetch_all(&mut *one).await.unwrap();
                    let found: Vec<i64> = found.into_iter().map(|(id,)| id).collect();
                    prop_assert_eq!(&found, &checked, "by {}", condition);
                    prop_assert_eq!(&ids(&|it| filter.matches(it)), &checked, "without a database");
                    if filter.is_nothing() {
                        prop_assert!(checked.is_empty());
                    }
                    one.rollback().await.unwrap();
                    let mut seen = seen.borrow_mut();
                    seen.rows += case.rows.len();
                    seen.allowed += checked.len();
                    seen.some += usize::from(!checked.is_empty() && checked.len() < case.rows.len());
                    Ok(())
                };
                let ran = tokio::task::block_in_place(|| {
                    TestRunner::new(config)
                        .run(&case(), |case| Handle::current().block_on(check(case)))
                });
                if let Err(error) = ran {
                    panic!("{error}");
                }
                let seen = seen.into_inner();
                println!("{seen:?}");
                // They are about something.
                assert!(seen.some > CASES as usize / 10 && seen.allowed > seen.rows / 50, "{seen:?}");
            })
            .await;
        }
    };
}

exact!(
    postgres_finds_the_rows_that_a_check_allows,
    with_postgres,
    sqlx::Postgres,
    Postgres,
    [
        "CREATE COLLATION alike (provider = icu, locale = 'und-u-ks-level1', deterministic = false)",
        "CREATE TABLE t (id BIGINT PRIMARY KEY, tenant TEXT, owner TEXT, path TEXT, tenant_alike TEXT COLLATE alike, owner_alike TEXT COLLATE alike, path_alike TEXT COLLATE alike)",
    ],
    false
);

exact!(
    mariadb_finds_the_rows_that_a_check_allows,
    with_mysql,
    sqlx::MySql,
    MySql,
    [
        // As the server has it, which takes `A` for `a`; and in a way that takes more than that for the same.
        "CREATE TABLE t (id BIGINT PRIMARY KEY, tenant VARCHAR(300), owner TEXT, path VARCHAR(300), tenant_alike VARCHAR(300) COLLATE utf8mb4_unicode_520_ci, owner_alike TEXT COLLATE utf8mb4_unicode_520_ci, path_alike TEXT COLLATE utf8mb4_bin)",
    ],
    true
);

exact!(
    sqlite_finds_the_rows_that_a_check_allows,
    with_sqlite,
    sqlx::Sqlite,
    Sqlite,
    [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, tenant TEXT, owner TEXT, path TEXT, tenant_alike TEXT COLLATE NOCASE, owner_alike TEXT COLLATE NOCASE, path_alike TEXT COLLATE RTRIM)",
    ],
    true
);
