//! Policies that are ready to decide.
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cedar_policy::{Authorizer, Entities, Entity, PolicyId, PolicySet, Request, Schema};
use portcullis_core::{BoxError, ConfigErrors};

use super::builder::CedarBuilder;
use super::faults::whole;
use super::mapping::Types;
use super::shape::Declared;
use super::{CedarAnswer, EntityProvider};
use crate::{Opinion, Policy, Question};

/// Policies in Cedar. Cheap to clone. See the [module](super) for what they are told, and an example.
#[derive(Clone)]
pub struct CedarPolicies(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) set: PolicySet,
    pub(super) names: HashMap<PolicyId, Arc<str>>,
    pub(super) schema: Option<Schema>,
    pub(super) declared: Declared,
    /// What is there before any request: static entities, and the actions of the schema.
    pub(super) base: Entities,
    pub(super) provider: Option<Arc<dyn EntityProvider>>,
    /// The names of headers that policies see, in lower case.
    pub(super) headers: Vec<String>,
    pub(super) types: Types,
    pub(super) authorizer: Authorizer,
}

impl CedarPolicies {
    /// These policies, without a schema and without further entities.
    ///
    /// # Errors
    /// What is wrong with the text, and where.
    pub fn new(policies: impl Into<String>) -> Result<Self, ConfigErrors> {
        Self::builder(policies).build()
    }
    /// Begins with the text of the policies.
    pub fn builder(policies: impl Into<String>) -> CedarBuilder {
        CedarBuilder::new(policies.into())
    }
    /// What Cedar says of a request and entities of somebody's own making. Nothing of a [`Question`] comes to it, and neither are the
    /// [static entities](CedarBuilder::entities_json) in it.
    pub fn decide(&self, request: &Request, entities: &Entities) -> CedarAnswer {
        let response = self.0.authorizer.is_authorized(request, &self.0.set, entities);
        CedarAnswer::new(&response, |id| self.name(id))
    }
    /// What Cedar says of a question, where it can be asked: the policies that decide, and those that cannot be evaluated. As a [`Policy`] it comes to the
    /// [opinion](CedarAnswer::opinion) of that.
    ///
    /// # Errors
    /// Why it cannot be asked: the provider cannot tell, or what is known does not fit the schema.
    ///
    /// # Cancellation
    /// The provider is dropped where it waits.
    pub async fn ask(&self, question: &Question<'_>) -> Result<CedarAnswer, String> {
        match &self.0.provider {
            Some(provider) => self.answer(question, provider.entities(question).await),
            None => self.answer(question, Ok(Vec::new())),
        }
    }
    /// The names of the policies, sorted.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        let mut names: Vec<_> = self.0.names.values().map(|name| &**name).collect();
        names.sort_unstable();
        names.into_iter()
    }
    fn name(&self, id: &PolicyId) -> Arc<str> {
        self.0.names.get(id).cloned().unwrap_or_else(|| Arc::from(id.to_string()))
    }
    fn answer(
        &self,
        question: &Question<'_>,
        more: Result<Vec<Entity>, BoxError>,
    ) -> Result<CedarAnswer, String> {
        let more = more.map_err(|error| {
            let why = whole(error.to_string(), error.source());
            format!("what policies have to know of cannot be told: {why}")
        })?;
        let caller = self.0.types.caller(question.identity())?;
        // Logs may be kept without subjects, and a reason goes into all of them.
        let told = |text: String| told(&text, &caller.to_string());
        let (request, entities) = self.0.frame(question, caller.clone(), more).map_err(told)?;
        Ok(self.decide(&request, &entities).tell(told))
    }
}

/// A reason without the name of the caller, and not without end.
fn told(text: &str, caller: &str) -> String {
    const LONGEST: usize = 500;
    let text = text.replace(&format!("`{caller}`"), "the caller").replace(caller, "the caller");
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => text.get(..end).map(|start| format!("{start}..")).unwrap_or_default(),
        None => text,
    }
}

fn opinion(answer: Result<CedarAnswer, String>) -> Opinion {
    answer.map_or_else(Opinion::indeterminate, |answer| answer.opinion())
}

#[async_trait]
impl Policy for CedarPolicies {
    fn decide_now(&self, question: &Question<'_>) -> Option<Opinion> {
        let more = match &self.0.provider {
            Some(provider) => provider.entities_now(question)?,
            None => Ok(Vec::new()),
        };
        Some(opinion(self.answer(question, more)))
    }
    async fn decide(&self, question: &Question<'_>) -> Opinion {
        opinion(self.ask(question).await)
    }
}

impl fmt::Debug for CedarPolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CedarPolicies")
            .field("policies", &self.names().collect::<Vec<_>>())
            .field("has_schema", &self.0.schema.is_some())
            .field("headers", &self.0.headers)
            .finish_non_exhaustive()
    }
}
