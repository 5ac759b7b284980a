//! Policies from texts.
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use cedar_policy::{
    Authorizer, Entities, PolicyId, PolicySet, Schema, SchemaFragment, ValidationError,
    ValidationMode, ValidationWarning, Validator,
};
use http::HeaderName;
use miette::Diagnostic;
use portcullis_core::{ConfigError, ConfigErrors};

use super::faults::fault;
use super::mapping::Types;
use super::policies::Inner;
use super::shape::{Declared, Shape};
use super::{CedarPolicies, EntityProvider};

/// Builds [`CedarPolicies`].
#[must_use = "policies are made by `build`"]
pub struct CedarBuilder {
    policies: String,
    schema: Option<String>,
    entities: Option<String>,
    provider: Option<Arc<dyn EntityProvider>>,
    headers: Vec<String>,
    impossible: bool,
}

impl CedarBuilder {
    pub(super) fn new(policies: String) -> Self {
        Self {
            policies,
            schema: None,
            entities: None,
            provider: None,
            headers: Vec::new(),
            impossible: false,
        }
    }
    /// A schema, in Cedar's own syntax or its JSON: policies are checked against it when they are built, and entities and requests when something is
    /// decided. Policies see of a request what it declares. Default: none, and policies see everything.
    pub fn schema(self, schema: impl Into<String>) -> Self {
        Self { schema: Some(schema.into()), ..self }
    }
    /// Entities that are always there, in Cedar's JSON: a hierarchy of roles, say. They are looked through for each decision, so keep what there is
    /// much of for an [`EntityProvider`]. Default: none.
    pub fn entities_json(self, entities: impl Into<String>) -> Self {
        Self { entities: Some(entities.into()), ..self }
    }
    /// Tells of further entities, for each question. Default: nobody does.
    pub fn entities(self, provider: impl EntityProvider) -> Self {
        Self { provider: Some(Arc::new(provider)), ..self }
    }
    /// Also has policies see a header: `context.headers["x-role"]`, a set of everything that it says, on however many lines and in whichever
    /// [spelling](crate::Question::header_values); the set is empty where the request does not have it. Default: they see none.
    ///
    /// A header is what the client says of itself, unless something in front has put it there.
    pub fn header(mut self, name: impl Into<String>) -> Self {
        self.headers.push(name.into());
        self
    }
    /// Takes policies whose conditions, by the schema, are never true. Default: they are errors, for they look like a rule and are none. A policy for
    /// which there are no caller, action and resource is always an error.
    pub fn allow_impossible(self) -> Self {
        Self { impossible: true, ..self }
    }
    /// Reads and checks everything.
    ///
    /// # Errors
    /// Everything that is wrong: what cannot be read, and where; policies that do not fit the schema; entities that do not; two policies of one
    /// name; templates, which nobody fills in; headers that the schema declares and policies do not see.
    pub fn build(self) -> Result<CedarPolicies, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let set = self.policies(&mut errors);
        let schema = self.schema_of(&mut errors);
        let headers = self.header_names(&mut errors);
        let declared = schema.as_ref().map(|(_, json)| Declared::new(json)).unwrap_or_default();
        let schema = schema.map(|(schema, _)| schema);
        if schema.is_some() {
            errors.extend(unseen(&declared, &headers));
        }
        let names = set.as_ref().map(|set| names(set, &mut errors)).unwrap_or_default();
        if let (Some(set), Some(schema)) = (&set, &schema) {
            self.check(set, schema, &names, &mut errors);
        }
        let base = self.base(schema.as_ref(), &mut errors);
        let types = Types::new(schema.as_ref(), &declared);
        errors.or(())?;
        Ok(CedarPolicies(Arc::new(Inner {
            set: set.unwrap_or_default(),
            names,
            schema,
            declared,
            base: base.unwrap_or_else(Entities::empty),
            provider: self.provider,
            headers,
            types,
            authorizer: Authorizer::new(),
        })))
    }
    fn policies(&self, errors: &mut ConfigErrors) -> Option<PolicySet> {
        let text = &self.policies;
        let parsed = text.parse::<PolicySet>();
        let parsed = parsed.map_err(|faults| {
            errors.extend(faults.iter().map(|it| fault("Cedar policies", text, it)));
        });
        parsed.ok()
    }
    /// The schema, and the same in JSON.
    fn schema_of(&self, errors: &mut ConfigErrors) -> Option<(Schema, serde_json::Value)> {
        let text = self.schema.as_ref()?;
        let mut wrong = |error: &dyn Diagnostic| errors.push(fault("Cedar schema", text, error));
        // No schema in Cedar's own syntax begins with a brace.
        let fragment = if text.trim_start().starts_with('{') {
            SchemaFragment::from_json_str(text).map_err(|error| wrong(&error)).ok()?
        } else {
            let read = SchemaFragment::from_cedarschema_str(text);
            let (fragment, warnings) = read.map_err(|error| wrong(&error)).ok()?;
            warnings.for_each(|it| tracing::warn!("{}", fault("Cedar schema", text, &it)));
            fragment
        };
        let json = fragment.clone().to_json_value().map_err(|error| wrong(&error)).ok()?;
        let schema: Result<Schema, _> = fragment.try_into();
        Some((schema.map_err(|error| wrong(&error)).ok()?, json))
    }
    fn header_names(&self, errors: &mut ConfigErrors) -> Vec<String> {
        let names = self.headers.iter().filter_map(|name| {
            let parsed = HeaderName::try_from(name).map_err(|_| {
                ConfigError::new("Cedar policies", format!("`{name}` is no name of a header"))
            });
            errors.keep(parsed).map(|name| name.as_str().to_owned())
        });
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names.dedup();
        names
    }
    fn check(
        &self,
        set: &PolicySet,
        schema: &Schema,
        names: &HashMap<PolicyId, Arc<str>>,
        errors: &mut ConfigErrors,
    ) {
        let result = Validator::new(schema.clone()).validate(set, ValidationMode::Strict);
        let wrong = |id: &PolicyId, error: &dyn Diagnostic| {
            let name = names.get(id).map_or_else(|| id.to_string(), ToString::to_string);
            let told = fault(&format!("Cedar policy `{name}`"), &self.policies, error);
            // Cedar repeats its own name of the policy.
            let own = format!("for policy `{id}`, ");
            match told.message().strip_prefix(&own) {
                Some(message) => ConfigError::new(told.place(), message),
                None => told,
            }
        };
        let with_errors: HashSet<_> =
            result.validation_errors().map(ValidationError::policy_id).collect();
        let faults = result.validation_errors().map(|error| wrong(error.policy_id(), error));
        let mut faults: Vec<_> = faults.collect();
        for warning in result.validation_warnings() {
            let told = wrong(warning.policy_id(), warning);
            match warning {
                // What makes a policy wrong makes it impossible too, mostly.
                _ if with_errors.contains(warning.policy_id()) => {}
                ValidationWarning::InvalidActionApplication(_) => faults.push(told),
                ValidationWarning::ImpossiblePolicy(_) if !self.impossible => faults.push(told),
                _ => tracing::warn!("{told}"),
            }
        }
        // Cedar keeps policies in no order.
        faults.sort_by_cached_key(ToString::to_string);
        errors.extend(faults);
    }
    fn base(&self, schema: Option<&Schema>, errors: &mut ConfigErrors) -> Option<Entities> {
        let text = self.entities.as_deref().unwrap_or("[]");
        let entities = Entities::from_json_str(text, schema);
        entities.map_err(|error| errors.push(fault("Cedar entities", text, &error))).ok()
    }
}

/// What each policy is called.
fn names(set: &PolicySet, errors: &mut ConfigErrors) -> HashMap<PolicyId, Arc<str>> {
    let each = set.policies().map(|policy| {
        let name = policy.annotation("id").filter(|name| !name.is_empty());
        let name = name.map_or_else(|| policy.id().to_string(), ToOwned::to_owned);
        (policy.id().clone(), Arc::from(name))
    });
    let names: HashMap<_, Arc<str>> = each.collect();
    let mut sorted: Vec<_> = names.values().collect();
    sorted.sort_unstable();
    for pair in sorted.windows(2) {
        if let [one, other] = pair
            && one == other
        {
            let message = "two policies are called so: give each an `@id` of its own";
            errors.push(ConfigError::new(format!("Cedar policy `{one}`"), message));
        }
    }
    let mut templates: Vec<_> = set.templates().map(|it| it.id().to_string()).collect();
    templates.sort_unstable();
    errors.extend(templates.into_iter().map(|id| {
        let message = "it is a template, and nobody fills it in: say what `?principal` and `?resource` stand for";
        ConfigError::new(format!("Cedar policy `{id}`"), message)
    }));
    names
}

/// Headers that the schema declares, and that policies would never see.
fn unseen(declared: &Declared, headers: &[String]) -> Vec<ConfigError> {
    let shapes = declared.contexts.values().filter_map(|context| context.part("headers"));
    let names = shapes.filter_map(|shape| match shape {
        Shape::Record(parts) => Some(parts.keys()),
        _ => None,
    });
    let unseen: HashSet<_> = names.flatten().filter(|name| !headers.contains(name)).collect();
    let mut unseen: Vec<_> = unseen.into_iter().collect();
    unseen.sort_unstable();
    let told = unseen.into_iter().map(|name| {
        let lower = name.to_ascii_lowercase();
        let message = if *name == lower {
            format!("it declares the header `{name}`, which policies do not see: say `header(\"{name}\")`")
        } else {
            format!("it declares the header `{name}`: the names of headers are in lower case, `{lower}`")
        };
        ConfigError::new("Cedar schema", message)
    });
    told.collect()
}

impl fmt::Debug for CedarBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CedarBuilder").field("headers", &self.headers).finish_non_exhaustive()
    }
}
