//! What else policies know of.
use async_trait::async_trait;
use cedar_policy::Entity;
use portcullis_core::BoxError;

use crate::Question;

/// Tells policies of entities that the request does not carry: groups, folders, the row that a path names. A function is one:
///
/// ```
/// use portcullis_authz::Question;
/// use portcullis_authz::cedar::CedarPolicies;
/// use portcullis_authz::cedar::cedar_policy::Entity;
/// use portcullis_core::BoxError;
/// use serde_json::json;
/// let groups = |question: &Question<'_>| -> Result<Vec<Entity>, BoxError> {
///     let caller = json!({ "type": "User", "id": question.identity().key().to_string() });
///     let group = json!({ "type": "Group", "id": "night-shift" });
///     let entity = json!({ "uid": caller, "attrs": { "desk": 7 }, "parents": [group] });
///     Ok(vec![Entity::from_json_value(entity, None)?])
/// };
/// let text = r#"permit(principal in Group::"night-shift", action, resource);"#;
/// let policies = CedarPolicies::builder(text).entities(groups).build()?;
/// # Ok::<(), portcullis_core::ConfigErrors>(())
/// ```
///
/// What it says of the caller, or of the resource, comes to what the request says of them; where the two differ, nobody can tell. An entity that
/// it tells of takes the place of a [static one](super::CedarBuilder::entities_json).
#[async_trait]
pub trait EntityProvider: Send + Sync + 'static {
    /// The entities, where nobody need be asked for them. `None` has [`entities`](Self::entities) called.
    ///
    /// # Errors
    /// Why it cannot tell: 503 for the request, and never access.
    fn entities_now(&self, question: &Question<'_>) -> Option<Result<Vec<Entity>, BoxError>>;
    /// The entities, when somebody must be asked: a database, another server. It has the time that a [policy](crate::Policy::decide) has. Default: it cannot
    /// tell.
    ///
    /// # Errors
    /// As [`entities_now`](Self::entities_now).
    ///
    /// # Cancellation
    /// A request that is gone drops it at any await point.
    async fn entities(&self, question: &Question<'_>) -> Result<Vec<Entity>, BoxError> {
        self.entities_now(question).unwrap_or_else(|| Err("the provider has no answer".into()))
    }
}

impl<F> EntityProvider for F
where
    F: Fn(&Question<'_>) -> Result<Vec<Entity>, BoxError> + Send + Sync + 'static,
{
    fn entities_now(&self, question: &Question<'_>) -> Option<Result<Vec<Entity>, BoxError>> {
        Some(self(question))
    }
}
