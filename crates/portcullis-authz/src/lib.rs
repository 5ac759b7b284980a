#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod authorize;
mod authorizer;
#[cfg(feature = "cedar")]
#[cfg_attr(docsrs, doc(cfg(feature = "cedar")))]
pub mod cedar;
mod explain;
mod filter;
mod future;
mod judge;
pub mod kinds;
mod live;
mod log;
mod matrix;
mod policy;
mod resource;
mod roles;
mod shadow;
mod stored;

pub use authorize::{Authorize, AuthorizeLayer, ByRoute, Fixed};
pub use authorizer::Authorizer;
pub use explain::{ExplainFuture, ExplainLayer, ExplainService};
pub use filter::{Columns, Filter, SqlDialect, SqlPiece};
pub use future::AuthorizeFuture;
pub use live::LiveRoles;
pub use log::{DecisionLog, DecisionRecord, DecisionSink};
pub use matrix::{Cell, Matrix, MatrixRow};
pub use policy::{Opinion, Policy, Question};
pub use resource::Resource;
pub use roles::{
    Binding, RoleDefinition, RoleEdit, RoleError, RoleModel, Roles, RolesBuilder, Scope,
    Separation, SeparationKind,
};
pub use shadow::{Shadow, ShadowCounts};
pub use stored::{Announced, RoleNews, RoleStore, RoleStoreError, StoredRoles};
