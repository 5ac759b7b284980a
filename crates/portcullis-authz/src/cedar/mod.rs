//! Policies in the language [Cedar](https://www.cedarpolicy.com).
//!
//! ```
//! use portcullis_authz::cedar::CedarPolicies;
//! use portcullis_authz::{AuthorizeLayer, Roles};
//! let policies = CedarPolicies::builder(r#"
//!     @id("clerks-by-day")
//!     permit(principal in Role::"clerk", action == Action::"GET", resource);
//!     @id("not-abroad")
//!     forbid(principal, action, resource)
//!     unless { context has client && context.client.isInRange(ip("10.0.0.0/8")) };
//! "#)
//! .schema(r#"
//!     entity Role, Tenant, Route;
//!     entity User, Service, Key in [Role, Tenant];
//!     action GET, POST appliesTo {
//!         principal: [User, Service, Key],
//!         resource: Route,
//!         context: { client?: ipaddr },
//!     };
//! "#)
//! .build()?;
//! // A route asks by the name: `policy("office")`.
//! let layer = AuthorizeLayer::new(Roles::default()).policy("office", policies);
//! # Ok::<(), portcullis_core::ConfigErrors>(())
//! ```
//!
//! # What policies are told
//!
//! | | on the way in | about an object ([`Authorizer::ask`](crate::Authorizer::ask)) |
//! |---|---|---|
//! | principal | `User`, `Service` or `Key`, by the [key](portcullis_core::Identity::key) of the caller as text; in `Role::".."` for each role, and in `Tenant::".."` | the same |
//! | action | `Action::"GET"`: the method | `Action::"orders:read"`: what was asked |
//! | resource | `Route::".."`: the name of the route, otherwise its template | the [kind](crate::Resource::kind) as its type, and the name |
//! | context | `client?: ipaddr`, `time: Long`, `headers` | the same |
//!
//! - Attributes of a caller: `key`, `subject`, `issuer`, `tenant?`, `plan?`, `roles`, `scopes`, `methods`, `assurance?`, and `claims`, a record.
//! - Roles are those that [count](crate::Question::roles) for the caller in this request: what policies see is what role checks go by, inherited
//!   roles included.
//! - Attributes of a route: `template`, `path`, `host?`, and `parameters`, a record of those of the path.
//! - Attributes of an object: `tenant?`, `owner?`, `path?`, and [its own](crate::Resource::attribute) beside them. The owner is a text, as in
//!   `resource has owner && resource.owner == principal.key`.
//! - `time` is in seconds since 1970. `headers` has those that the builder [names](CedarBuilder::header), each as a set of everything that it says.
//! - What is not known is absent, as what Cedar does not have: nulls, and numbers with a fraction or of more than 64 bits. Claims are values and nothing else: none
//!   becomes an entity by the way it is spelled.
//!
//! `HEAD` is the action `GET`, as it is for routes.
//!
//! # With a schema
//!
//! Policies see of a request what the schema declares, and the rest is left out: declare `claims: { department?: String }`, and no other claim is looked at. What is
//! declared has to be there unless it is optional, and has to be of its type, and attributes of objects, which the application chooses itself, have to be
//! declared; otherwise it cannot be told whether the caller may. A policy that can never apply is an error when policies are built, so that
//! none is lost by what a schema leaves out.
//!
//! # What comes of it
//!
//! Deny where no policy permits it or one forbids it; allow where one permits it and none forbids it; and indeterminate, which is 503 and never access, where
//! a policy that could not be evaluated might have forbidden it, where an [`EntityProvider`] cannot tell, or where something does not fit. Reasons name policies by `@id("..")`.
//!
//! # What it costs
//!
//! Policies are read once. Each decision makes the entities of caller and resource anew, which takes about ten microseconds, and Cedar looks at every policy, half a
//! microsecond each: with a thousand policies a decision takes half a millisecond, on the thread that has the request. Static entities are walked through
//! each time, and a further entity of the caller or the resource is joined with ours by way of JSON. What roles can say, roles say in nanoseconds.
//!
//! The crate [`cedar_policy`] is a part of this interface.
pub use cedar_policy;

mod answer;
mod builder;
mod faults;
mod mapping;
mod policies;
mod provider;
mod shape;

pub use answer::CedarAnswer;
pub use builder::CedarBuilder;
pub use policies::CedarPolicies;
pub use provider::EntityProvider;
