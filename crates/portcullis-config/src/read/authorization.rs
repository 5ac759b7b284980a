//! `[roles]`, `[separation]`, `[policies]`, `[authorization]`: who may do what.
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;

use portcullis_authz::cedar::{CedarBuilder, CedarPolicies};
use portcullis_authz::{DecisionLog, Roles};
use toml::de::DeTable;

use crate::keys;
use crate::reader::{Reading, Span, Table, nearest};
use crate::source::{FileErrors, Source};
use crate::stores::{DecisionsLater, Later};

/// A policy, and what its files say.
#[derive(Clone, Debug)]
pub(crate) struct NamedPolicy {
    pub(crate) name: String,
    pub(crate) policy: CedarPolicies,
    pub(crate) said: Vec<String>,
}

/// What `[authorization]` says.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuthorizationSettings {
    /// Who keeps further roles.
    pub(crate) store: Option<Later>,
    /// The permission of those who may know.
    pub(crate) explain: Option<String>,
    pub(crate) log: Option<LogSettings>,
    /// A candidate.
    pub(crate) shadow: Option<(Roles, Vec<NamedPolicy>)>,
}

/// What `decision_log` says.
#[derive(Clone, Debug)]
pub(crate) struct LogSettings {
    /// The log of the program where there is none.
    to: Option<Later>,
    allowed: Option<f64>,
    subjects: bool,
    paths: bool,
}

impl LogSettings {
    pub(crate) fn build(&self) -> DecisionLog {
        let log = match &self.to {
            Some(store) => DecisionLog::new(DecisionsLater::new(store.clone())),
            None => DecisionLog::to_tracing(),
        };
        let log = self.allowed.into_iter().fold(log, DecisionLog::share_of_allowed);
        let log = if self.subjects { log } else { log.without_subjects() };
        if self.paths { log } else { log.without_paths() }
    }
}

impl AuthorizationSettings {
    /// The same with these stores, which are open, in place of those of the same names.
    pub(crate) fn with_stores(&mut self, stores: &[Later]) {
        let log = self.log.as_mut().and_then(|log| log.to.as_mut());
        for own in self.store.iter_mut().chain(log) {
            let name = own.store().name().to_owned();
            let open = stores.iter().find(|store| store.store().name() == name);
            if let Some(open) = open {
                *own = open.clone();
            }
        }
    }
}

/// Roles, and which of them are kept apart.
pub(super) fn roles(
    reading: &Reading<'_>,
    tables: &[(String, Table<'_>)],
    separations: &[(String, Table<'_>)],
) -> Roles {
    let mut builder = Roles::builder();
    let mut spans: HashMap<String, &Span> = HashMap::new();
    let is_known = |role: &str| tables.iter().any(|(known, _)| known == role);
    let unknown = |place: &str, span: &Span, role: &str| {
        let error = reading.source.error(Some(span), place, format!("there is no role `{role}`"));
        reading.error(match nearest(role, tables.iter().map(|(name, _)| name.as_str())) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!("add `[roles.{role}]`")),
        });
    };
    for (name, table) in tables {
        spans.insert(format!("role `{name}`"), &table.span);
        builder = builder.role(name);
        for permission in table.texts("permissions") {
            builder = builder.permits(&permission.value);
        }
        for inherited in table.texts("inherits") {
            if is_known(&inherited.value) {
                builder = builder.inherits(&inherited.value);
            } else {
                unknown(&inherited.place, &inherited.span, &inherited.value);
            }
        }
    }
    for (name, table) in separations {
        spans.insert(format!("separation `{name}`"), &table.span);
        let roles = table.texts("roles");
        let told = table.told();
        for role in roles.iter().filter(|role| !is_known(&role.value)) {
            unknown(&role.place, &role.span, &role.value);
        }
        let too_many = table.whole("too_many", 2..=1_000).map_or(2, |number| number.value);
        let too_many = usize::try_from(too_many).unwrap_or(usize::MAX);
        if roles.len() < too_many {
            let error = table.error(format!(
                "{} roles are kept apart, and {too_many} are too many: nobody would ever have so many",
                roles.len()
            ));
            table.push(error.hint("name as many roles as are too many, or more: `roles = [\"requester\", \"approver\"]`"));
        }
        let is_dynamic = table.word("kind", &["static", "dynamic"]) == Some("dynamic");
        if table.told() > told {
            continue;
        }
        let roles: Vec<_> = roles.iter().map(|role| role.value.as_str()).collect();
        builder = if is_dynamic {
            builder.separates_dynamically(name, &roles, too_many)
        } else {
            builder.separates_statically(name, &roles, too_many)
        };
    }
    match builder.build() {
        Ok(roles) => roles,
        Err(errors) => {
            for error in &errors {
                let span = spans.get(error.place()).copied();
                reading.error(reading.source.error(span, error.place(), error.message()));
            }
            Roles::default()
        }
    }
}

/// Policies, each of files of its own.
pub(super) fn policies(tables: &[(String, Table<'_>)]) -> Vec<NamedPolicy> {
    tables.iter().filter_map(|(name, table)| policy(name, table)).collect()
}

fn policy(name: &str, table: &Table<'_>) -> Option<NamedPolicy> {
    let mut said = Vec::new();
    let mut read = |key: &str| {
        let file = table.file(key)?;
        match fs::read_to_string(&file.value) {
            Ok(text) => {
                said.push(text.clone());
                Some(text)
            }
            Err(error) => {
                let message = format!("{} cannot be read: {error}", file.value.display());
                table.push(table.error_at(&file.span, key, message));
                None
            }
        }
    };
    let told = table.told();
    let (text, schema, entities) = (read("cedar"), read("schema"), read("entities"));
    if table.get("cedar").is_none() {
        table.missing("cedar", "cedar = \"policies.cedar\"");
    }
    let mut builder = CedarPolicies::builder(text?);
    builder = schema.into_iter().fold(builder, CedarBuilder::schema);
    builder = entities.into_iter().fold(builder, CedarBuilder::entities_json);
    for header in table.parsed_all("headers", super::header_name) {
        builder = builder.header(header.as_str());
    }
    if table.told() > told {
        return None;
    }
    match builder.build() {
        Ok(policy) => Some(NamedPolicy { name: name.to_owned(), policy, said }),
        Err(errors) => {
            for error in &errors {
                table.push(table.error(format!("{}: {}", error.place(), error.message())));
            }
            None
        }
    }
}

/// What `[authorization]` says.
pub(super) fn settings(
    reading: &Reading<'_>,
    table: Option<&Table<'_>>,
    (stores, names): (&[Later], &[String]),
    places: &mut HashMap<String, Span>,
) -> AuthorizationSettings {
    let Some(table) = table else { return AuthorizationSettings::default() };
    let store = super::stores::named(table, stores, names);
    if store.as_ref().is_some_and(|store| !store.store().has_tables()) {
        let error = table.error("the store is Redis, which keeps no roles");
        table.push(error.hint("name a store with `sql`"));
    }
    let explain = table.text("explain").map(|permission| {
        places.insert("ExplainLayer".to_owned(), permission.span);
        permission.value
    });
    let log = decision_log(table, stores, names);
    let shadow = table.file("shadow").and_then(|file| {
        let name = file.value.display().to_string();
        let text = fs::read_to_string(&file.value);
        match text {
            Ok(text) => shadow(reading, &name, &text),
            Err(error) => {
                let message = format!("{name} cannot be read: {error}");
                table.push(table.error_at(&file.span, "shadow", message));
                None
            }
        }
    });
    AuthorizationSettings { store, explain, log, shadow }
}

fn decision_log(table: &Table<'_>, stores: &[Later], names: &[String]) -> Option<LogSettings> {
    let table = table.table("decision_log", keys::DECISION_LOG)?;
    let mut to = None;
    if let Some(named) = table.text("to").filter(|to| to.value != "log") {
        let found = stores.iter().find(|store| store.store().name() == named.value);
        match found {
            Some(store) if store.store().has_tables() => to = Some(store.clone()),
            Some(_) => {
                let message = "the store is Redis, which has no tables";
                let error = table.error_at(&named.span, "to", message);
                table.push(error.hint("name a store with `sql`, or say `log`"));
            }
            None if names.contains(&named.value) => {}
            None => {
                let message = format!("there is no store `{}`", named.value);
                let error = table.error_at(&named.span, "to", message);
                table.push(error.hint("say `log`, or the name of a store"));
            }
        }
    }
    let said = |key| table.flag(key) != Some(false);
    let (subjects, paths) = (said("subjects"), said("paths"));
    Some(LogSettings { to, allowed: table.share("allowed"), subjects, paths })
}

/// A candidate, from a file of its own.
fn shadow(reading: &Reading<'_>, name: &str, text: &str) -> Option<(Roles, Vec<NamedPolicy>)> {
    let source = Source::new(name, text);
    let inner = Reading {
        source: &source,
        errors: RefCell::default(),
        variable: reading.variable,
        before: reading.before,
    };
    let shadow = read_shadow(&inner, text);
    let errors: FileErrors = inner.errors.into_inner();
    let is_sound = errors.is_empty();
    for error in errors.iter() {
        reading.error(error.clone());
    }
    shadow.filter(|_| is_sound)
}

fn read_shadow(reading: &Reading<'_>, text: &str) -> Option<(Roles, Vec<NamedPolicy>)> {
    let (parsed, syntax) = DeTable::parse_recoverable(text);
    for error in syntax {
        let error = reading.source.error(error.span().as_ref(), "", error.message().to_owned());
        reading.error(error.hint("the file is TOML"));
    }
    if !reading.errors.borrow().is_empty() {
        return None;
    }
    let file = reading.table("", parsed.span(), parsed.get_ref(), keys::SHADOW);
    let roles = roles(
        reading,
        &file.named("roles", keys::ROLE),
        &file.named("separation", keys::SEPARATION),
    );
    let policies = policies(&file.named("policies", keys::POLICY));
    Some((roles, policies))
}
