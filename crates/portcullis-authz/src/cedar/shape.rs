//! What a schema declares, as far as values of requests are cut to it.
use std::collections::{BTreeMap, HashMap};

use cedar_policy::{EntityTypeName, RestrictedExpression};
use serde_json::{Map, Value};

/// Which parts a value may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Any: there is no schema, or it declares no parts here. What does not fit is found when Cedar looks at it.
    Any,
    Record(BTreeMap<String, Shape>),
    Set(Box<Shape>),
}

impl Shape {
    /// The shape of a part; `None` where there is to be no such part.
    pub(super) fn part(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Any => Some(&Self::Any),
            Self::Record(parts) => parts.get(name),
            Self::Set(_) => None,
        }
    }
    fn element(&self) -> &Self {
        match self {
            Self::Set(element) => element,
            _ => &Self::Any,
        }
    }
    /// A value of JSON, without what Cedar does not have and what the schema does not declare. Nothing in it is an escape: a claim cannot become an
    /// entity by the way it is spelled.
    pub(super) fn value(&self, value: &Value) -> Option<RestrictedExpression> {
        match value {
            Value::Null => None,
            Value::Bool(it) => Some(RestrictedExpression::new_bool(*it)),
            Value::Number(it) => it.as_i64().map(RestrictedExpression::new_long),
            Value::String(it) => Some(RestrictedExpression::new_string(it.clone())),
            Value::Array(items) => {
                let items = items.iter().filter_map(|item| self.element().value(item));
                Some(RestrictedExpression::new_set(items))
            }
            Value::Object(parts) => self.record(parts),
        }
    }
    pub(super) fn record(&self, parts: &Map<String, Value>) -> Option<RestrictedExpression> {
        let parts = parts.iter().filter_map(|(name, value)| {
            let value = self.part(name)?.value(value)?;
            Some((name.clone(), value))
        });
        // The names of a map are distinct, so this is a record.
        RestrictedExpression::new_record(parts).ok()
    }
}

/// What a schema declares of the attributes of entities, and of contexts.
#[derive(Clone, Debug, Default)]
pub(super) struct Declared {
    pub(super) entities: HashMap<EntityTypeName, Shape>,
    /// By the name of the action, for actions that are in no namespace, as all of ours are.
    pub(super) contexts: HashMap<String, Shape>,
}

impl Declared {
    /// Reads a schema in Cedar's JSON. Invariant: Cedar has found no fault in it, so there are no circles in it.
    pub(super) fn new(schema: &Value) -> Self {
        let mut declared = Self::default();
        for (namespace, parts) in schema.as_object().into_iter().flatten() {
            let types = Types { schema, namespace };
            for (name, entity) in
                parts.get("entityTypes").and_then(Value::as_object).into_iter().flatten()
            {
                let shape = entity
                    .get("shape")
                    .map_or_else(|| Shape::Record(BTreeMap::new()), |shape| types.shape(shape));
                let full = if namespace.is_empty() {
                    name.clone()
                } else {
                    format!("{namespace}::{name}")
                };
                if let Ok(name) = full.parse() {
                    declared.entities.insert(name, shape);
                }
            }
            if !namespace.is_empty() {
                continue;
            }
            for (name, action) in
                parts.get("actions").and_then(Value::as_object).into_iter().flatten()
            {
                let context = action.pointer("/appliesTo/context");
                let shape =
                    context.map_or_else(|| Shape::Record(BTreeMap::new()), |it| types.shape(it));
                declared.contexts.insert(name.clone(), shape);
            }
        }
        declared
    }
}

/// Where the names of types are looked up.
struct Types<'a> {
    schema: &'a Value,
    namespace: &'a str,
}

impl Types<'_> {
    fn shape(&self, of: &Value) -> Shape {
        let text = |key: &str| of.get(key).and_then(Value::as_str).unwrap_or_default();
        match text("type") {
            "Record" => {
                let parts = of.get("attributes").and_then(Value::as_object).into_iter().flatten();
                Shape::Record(parts.map(|(name, part)| (name.clone(), self.shape(part))).collect())
            }
            "Set" => {
                let element = of.get("element").map_or(Shape::Any, |element| self.shape(element));
                Shape::Set(Box::new(element))
            }
            "EntityOrCommon" => self.named(text("name")),
            name => self.named(name),
        }
    }
    /// A common type; anything else has no parts.
    fn named(&self, name: &str) -> Shape {
        let spellings = match name.rsplit_once("::") {
            Some(full) => [Some(full), None],
            None => [Some((self.namespace, name)), Some(("", name))],
        };
        for (namespace, name) in spellings.into_iter().flatten() {
            let common = self.schema.get(namespace).and_then(|it| it.get("commonTypes"));
            if let Some(found) = common.and_then(|it| it.get(name)) {
                return Types { schema: self.schema, namespace }.shape(found);
            }
        }
        Shape::Any
    }
}
