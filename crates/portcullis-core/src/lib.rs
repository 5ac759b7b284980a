#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod auth;
mod body;
mod body_error;
mod body_limit;
mod client_addr;
mod clock;
mod config_error;
mod connection;
mod context;
mod deadline;
mod decision;
mod destination;
mod dialect;
mod draining;
mod edge;
mod explain;
mod grpc_timeout;
mod identity;
mod identity_json;
mod informational;
mod metric_source;
pub mod problem;
mod quota_use;
mod readiness;
mod refusable;
mod request_id;
mod respite;
mod revocation;
pub mod route;
mod secret;
mod signal;
pub mod stack;
pub mod stage;
mod target;
mod trace_context;

pub use auth::{AuthState, Challenges, ConsumedCredentials};
pub use body::{Body, BoxError, End, Watch};
pub use body_error::{BodyError, BodyErrorKind};
pub use body_limit::BodyLimit;
pub use client_addr::{
    AddrKey, Ambiguous, ClientAddr, Forwarded, ForwardedElement, ForwardedError, Hop,
    TrustedProxies,
};
pub use clock::{Clock, Sleep, Time};
pub use config_error::{ConfigError, ConfigErrors};
pub use connection::{Connection, Tls};
pub use context::Context;
pub use deadline::Deadline;
pub use decision::{Decision, Verdict};
pub use destination::Destination;
pub use dialect::{Dialect, Format};
pub use draining::Draining;
pub use edge::{Edge, EdgeFuture, EdgeLayer, OWN_PREFIX, SecurityHeaders};
pub use explain::{Explain, Note};
pub use grpc_timeout::GrpcTimeout;
pub use identity::{Identity, IdentityBuilder, IdentityKey, IdentityKind};
pub use informational::{Informational, SendInformational};
pub use metric_source::MetricSource;
pub use problem::{Problem, ProblemKind};
pub use quota_use::QuotaUse;
pub use readiness::{Readiness, ReadinessCondition, ReadinessState};
pub use refusable::Refusable;
pub use request_id::RequestId;
pub use respite::Respite;
pub use revocation::{Revocation, Revoked};
pub use route::{
    Access, Methods, Requirement, Route, RouteExt, RouteLayer, RouteMatch, RouteOption, RouteTable,
    Routes, Rule, StepUp, WithOptions, authenticated, is_scope, optional, policy, public, require,
};
pub use secret::Secret;
pub use stack::Stack;
pub use target::{Scheme, Target, TargetError, TargetRules, canonical_path};
pub use trace_context::TraceContext;
