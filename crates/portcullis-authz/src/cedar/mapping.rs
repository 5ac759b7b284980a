//! From a question to what Cedar is asked.
use std::collections::{BTreeSet, HashMap};
use std::time::SystemTime;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
    Schema,
};
use portcullis_core::{Identity, IdentityKind, Target};
use serde_json::Value;

use super::faults::whole;
use super::policies::Inner;
use super::shape::{Declared, Shape};
use crate::{Question, Resource};

/// The types of our own entities.
#[derive(Clone, Debug)]
pub(super) struct Types {
    user: Caller,
    service: Caller,
    key: Caller,
    role: EntityTypeName,
    tenant: EntityTypeName,
    route: EntityTypeName,
    action: EntityTypeName,
}

/// What a kind of caller is.
#[derive(Clone, Debug)]
struct Caller {
    name: EntityTypeName,
    /// Whether, by the schema, such a caller can be in a role, and in a tenant.
    in_role: bool,
    in_tenant: bool,
}

impl Types {
    pub(super) fn new(schema: Option<&Schema>, declared: &Declared) -> Self {
        let (role, tenant) = (name("Role"), name("Tenant"));
        let caller = |kind| {
            let name = name(kind);
            let is_in = |group: &EntityTypeName| {
                let known = schema.filter(|_| declared.entities.contains_key(&name));
                // A schema that does not know the kind objects to it later.
                known.is_none_or(|schema| {
                    schema.ancestors(&name).is_some_and(|mut it| it.any(|it| it == group))
                })
            };
            Caller { in_role: is_in(&role), in_tenant: is_in(&tenant), name }
        };
        Self {
            user: caller("User"),
            service: caller("Service"),
            key: caller("Key"),
            route: name("Route"),
            action: name("Action"),
            role,
            tenant,
        }
    }
    fn kind(&self, identity: &Identity) -> Result<&Caller, String> {
        match identity.kind() {
            IdentityKind::User => Ok(&self.user),
            IdentityKind::Service => Ok(&self.service),
            IdentityKind::Key => Ok(&self.key),
            other => Err(format!("callers of the kind {other:?} have no type in Cedar")),
        }
    }
    /// The name of the caller among entities.
    pub(super) fn caller(&self, identity: &Identity) -> Result<EntityUid, String> {
        Ok(uid(&self.kind(identity)?.name, &identity.key().to_string()))
    }
}

fn name(text: &str) -> EntityTypeName {
    text.parse().expect("a word of letters is the name of a type")
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// The attributes of something, as far as they are declared.
struct Fields<'a> {
    shape: &'a Shape,
    fields: HashMap<String, RestrictedExpression>,
}

impl<'a> Fields<'a> {
    fn new(shape: &'a Shape) -> Self {
        Self { shape, fields: HashMap::new() }
    }
    fn put(&mut self, name: &str, value: impl FnOnce(&'a Shape) -> Option<RestrictedExpression>) {
        if let Some(value) = self.shape.part(name).and_then(value) {
            self.fields.insert(name.to_owned(), value);
        }
    }
    fn text(&mut self, name: &str, text: Option<&str>) {
        self.put(name, |_| text.map(string));
    }
    fn texts<'t>(&mut self, name: &str, texts: impl Iterator<Item = &'t str>) {
        self.put(name, |_| Some(RestrictedExpression::new_set(texts.map(string))));
    }
    fn long(&mut self, name: &str, number: Option<i64>) {
        self.put(name, |_| number.map(RestrictedExpression::new_long));
    }
}

fn string(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

/// Attributes of a resource that we say ourselves.
const OWN: [&str; 3] = ["tenant", "owner", "path"];

impl Inner {
    /// The request and the entities that Cedar is asked with.
    pub(super) fn frame(
        &self,
        question: &Question<'_>,
        caller: EntityUid,
        more: Vec<Entity>,
    ) -> Result<(Request, Entities), String> {
        let principal = self.principal(question.identity(), &question.roles(), caller.clone())?;
        let resource = match question.resource() {
            Some(resource) => self.object(resource)?,
            None => self.route(question)?,
        };
        let about = resource.uid();
        // Routes take HEAD for GET.
        let method = match question.method().as_str() {
            "HEAD" => "GET",
            method => method,
        };
        let action = question.action().unwrap_or(method);
        let context = self.context(question, action)?;
        let entities = self.entities(more, [principal, resource])?;
        let action = uid(&self.types.action, action);
        let request = Request::new(caller, action, about, context, self.schema.as_ref());
        let request = request.map_err(|error| {
            let why = whole(error.to_string(), std::error::Error::source(&error));
            format!("the request does not fit the schema: {why}")
        })?;
        Ok((request, entities))
    }
    fn shape(&self, kind: &EntityTypeName) -> &Shape {
        self.declared.entities.get(kind).unwrap_or(&Shape::Any)
    }
    fn principal(
        &self,
        identity: &Identity,
        roles: &BTreeSet<String>,
        uid_: EntityUid,
    ) -> Result<Entity, String> {
        let kind = self.types.kind(identity)?;
        let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
        let mut fields = Fields::new(self.shape(&kind.name));
        fields.text("key", Some(uid_.id().unescaped()));
        fields.text("subject", Some(identity.subject()));
        fields.text("issuer", Some(identity.issuer()));
        fields.text("tenant", identity.tenant());
        fields.text("plan", identity.plan());
        fields.texts("roles", roles.iter().copied());
        fields.texts("scopes", identity.scopes());
        fields.texts("methods", identity.methods());
        fields.long("assurance", identity.assurance().map(i64::from));
        fields.put("claims", |shape| shape.record(identity.claims()));
        let mut parents = Vec::new();
        if kind.in_role {
            parents.extend(roles.into_iter().map(|role| uid(&self.types.role, role)));
        }
        if let Some(tenant) = identity.tenant().filter(|_| kind.in_tenant) {
            parents.push(uid(&self.types.tenant, tenant));
        }
        entity(uid_, fields, parents)
    }
    fn route(&self, question: &Question<'_>) -> Result<Entity, String> {
        let context = question.context();
        let template = context.route_template();
        let template = template.ok_or("no route was matched, so there is no resource")?;
        let route = question.route().and_then(portcullis_core::Route::name).unwrap_or(template);
        let mut fields = Fields::new(self.shape(&self.types.route));
        fields.text("template", Some(template));
        fields.text("path", Some(question.path()));
        fields.text("host", context.target().map(Target::host));
        fields.put("parameters", |shape| {
            let names = template.split('/').filter_map(parameter);
            let parts = names.filter_map(|name| {
                shape.part(name)?;
                Some((name.to_owned(), string(question.parameter(name)?)))
            });
            // A template has no two parameters of one name.
            RestrictedExpression::new_record(parts).ok()
        });
        entity(uid(&self.types.route, route), fields, Vec::new())
    }
    fn object(&self, resource: &Resource) -> Result<Entity, String> {
        let kind: EntityTypeName = resource.kind().parse().map_err(|_| {
            format!(
                "`{}` is no name of a type in Cedar, as the kind of a resource has to be",
                resource.kind()
            )
        })?;
        let shape = self.shape(&kind);
        let mut fields = Fields::new(shape);
        fields.text("tenant", resource.tenant_name());
        fields.text("owner", resource.owner_key());
        fields.text("path", resource.place());
        for (name, value) in resource.attributes() {
            if OWN.contains(&name) {
                return Err(format!(
                    "the resource has an attribute `{name}`, which is the name of what `Resource::{name}` says"
                ));
            }
            // The application has put it there for policies: one that the schema does not know is a mistake, and told as such.
            if let Some(value) = shape.part(name).unwrap_or(&Shape::Any).value(value) {
                fields.fields.insert(name.to_owned(), value);
            }
        }
        entity(uid(&kind, resource.id()), fields, Vec::new())
    }
    fn context(&self, question: &Question<'_>, action: &str) -> Result<Context, String> {
        let known = question.context();
        let mut fields = Fields::new(self.declared.contexts.get(action).unwrap_or(&Shape::Any));
        fields.put("client", |_| {
            let address = known.client()?.ip().to_string();
            Some(RestrictedExpression::new_ip(address))
        });
        let since = known.clock().wall().duration_since(SystemTime::UNIX_EPOCH).ok();
        fields.long("time", since.and_then(|since| i64::try_from(since.as_secs()).ok()));
        fields.put("headers", |shape| {
            let parts = self.headers.iter().filter_map(|name| {
                shape.part(name)?;
                let values = question.header_values(name);
                let values = values.into_iter().map(RestrictedExpression::new_string);
                Some((name.clone(), RestrictedExpression::new_set(values)))
            });
            // The builder has taken out what was named twice.
            RestrictedExpression::new_record(parts).ok()
        });
        Context::from_pairs(fields.fields).map_err(|error| format!("there is no context: {error}"))
    }
    fn entities(&self, more: Vec<Entity>, ours: [Entity; 2]) -> Result<Entities, String> {
        let mut all: HashMap<EntityUid, Entity> = HashMap::with_capacity(more.len() + ours.len());
        for entity in more {
            let uid = entity.uid();
            if all.insert(uid.clone(), entity).is_some() {
                return Err(format!("the provider tells of `{uid}` twice"));
            }
        }
        for own in ours {
            let uid = own.uid();
            let known = all.remove(&uid).or_else(|| self.base.get(&uid).cloned());
            let own = match known {
                Some(known) => merged(&known, &own)?,
                None => own,
            };
            all.insert(uid, own);
        }
        let all = self.base.clone().upsert_entities(all.into_values(), self.schema.as_ref());
        all.map_err(|error| {
            let why = whole(error.to_string(), std::error::Error::source(&error));
            match self.schema {
                Some(_) => format!("what is known does not fit the schema: {why}"),
                None => format!("what is known does not fit together: {why}"),
            }
        })
    }
}

/// The name of a parameter of a template, in one of its parts.
fn parameter(part: &str) -> Option<&str> {
    let name = part.strip_prefix('{')?.strip_suffix('}')?;
    Some(name.strip_prefix('*').unwrap_or(name))
}

fn entity(uid: EntityUid, fields: Fields<'_>, parents: Vec<EntityUid>) -> Result<Entity, String> {
    let made = Entity::new(uid, fields.fields, parents.into_iter().collect());
    made.map_err(|error| format!("an attribute cannot be evaluated: {error}"))
}

/// What somebody else knows of an entity, and what the request says of it. By way of JSON, the one form in which an entity says all of itself.
fn merged(known: &Entity, own: &Entity) -> Result<Entity, String> {
    let json = |entity: &Entity| entity.to_json_value().map_err(|error| unclear(entity, &error));
    let (mut all, own_json) = (json(known)?, json(own)?);
    for (name, value) in own_json.pointer("/attrs").and_then(Value::as_object).into_iter().flatten()
    {
        let Some(attributes) = all.pointer_mut("/attrs").and_then(Value::as_object_mut) else {
            continue;
        };
        if attributes.get(name).is_some_and(|other| other != value) {
            return Err(format!("`{}` is said to have two values of `{name}`", own.uid()));
        }
        attributes.insert(name.clone(), value.clone());
    }
    let parents = own_json.pointer("/parents").and_then(Value::as_array);
    if let Some(all) = all.pointer_mut("/parents").and_then(Value::as_array_mut) {
        for parent in parents.into_iter().flatten() {
            if !all.contains(parent) {
                all.push(parent.clone());
            }
        }
    }
    Entity::from_json_value(all, None).map_err(|error| unclear(own, &error))
}

fn unclear(entity: &Entity, error: &dyn std::error::Error) -> String {
    let why = whole(error.to_string(), error.source());
    format!("what is known of `{}` cannot be put together: {why}", entity.uid())
}
