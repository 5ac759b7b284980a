//! By what is counted.
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method, Uri};
use portcullis_core::{Context, Identity, IdentityKind};
use sha2::{Digest, Sha256};

/// By what is counted: all that have the same value share one count.
///
/// Where a request lacks what a key asks for, the next best takes its place: the tenant's is the identity, the identity's and a header's is the
/// address. So nobody gets past a limit by leaving something out.
///
/// ```
/// use portcullis_ratelimit::{Key, per_minute};
/// // Each caller on each route.
/// let quota = per_minute(60).by([Key::Identity, Key::Route]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Key {
    /// The address of the client; IPv6 by its /64. The default.
    #[default]
    Address,
    /// The identity of the caller; the address of an anonymous one.
    Identity,
    /// The tenant of the caller, whoever it is within; the identity where it has none.
    Tenant,
    /// The API key of the caller; the identity of one who came by other means.
    ApiKey,
    /// The value of a header; the address where it is absent. The client chooses the value, so put a limit by address beside it.
    Header(HeaderName),
    /// The route.
    Route,
    /// Nothing: all requests together.
    Everyone,
    /// All of these together.
    All(Arc<[Key]>),
    /// What a function of the application says; the address where it says nothing.
    By(KeyFn),
}

/// A function that says by what a request is counted.
#[derive(Clone)]
pub struct KeyFn(Arc<Function>);

type Function = dyn Fn(&Asked<'_>) -> Option<String> + Send + Sync;

/// What a request asks, as keys, costs and exemptions see it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a Method,
    /// The URI; behind an edge it is the canonical one.
    pub uri: &'a Uri,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// What is known about it: who asks, and what for.
    pub context: &'a Context,
}

impl Key {
    /// Counts by what `function` says. It must tell apart who is to be told apart: what a client can choose, it can choose anew for each request.
    pub fn by(function: impl Fn(&Asked<'_>) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::By(KeyFn(Arc::new(function)))
    }
    /// Whether who is asking must be known.
    pub(crate) fn needs_identity(&self) -> bool {
        match self {
            Self::Identity | Self::Tenant | Self::ApiKey => true,
            Self::All(keys) => keys.iter().any(Self::needs_identity),
            _ => false,
        }
    }
    /// Whether the route must be known.
    pub(crate) fn needs_route(&self) -> bool {
        match self {
            Self::Route => true,
            Self::All(keys) => keys.iter().any(Self::needs_route),
            _ => false,
        }
    }

    /// Says to `part` what a request is counted by.
    pub(crate) fn parts(&self, asked: &Asked<'_>, part: &mut impl FnMut(Part<'_>)) {
        let context = asked.context;
        match self {
            Self::Address => part(address(context)),
            Self::Identity => part(identity(context)),
            Self::Tenant => match context.identity() {
                Some(identity) if identity.tenant().is_some() => part(Part::Tenant(identity)),
                _ => part(identity(context)),
            },
            Self::ApiKey => match context.identity() {
                Some(identity) if identity.kind() == IdentityKind::Key => {
                    part(Part::Identity(identity));
                }
                _ => part(identity(context)),
            },
            Self::Header(name) => match asked.headers.get(name) {
                Some(value) => part(Part::Text(value.as_bytes())),
                None => part(address(context)),
            },
            Self::Route => match context.route_template() {
                Some(template) => part(Part::Text(template.as_bytes())),
                None => part(Part::Everyone),
            },
            Self::Everyone => part(Part::Everyone),
            Self::All(keys) => keys.iter().for_each(|key| key.parts(asked, part)),
            Self::By(function) => match function.0(asked) {
                Some(text) => part(Part::Text(text.as_bytes())),
                None => part(address(context)),
            },
        }
    }
}

fn address(context: &Context) -> Part<'static> {
    context.client().map_or(Part::Unknown, |client| Part::Address(client.key().to_bits()))
}

fn identity(context: &Context) -> Part<'_> {
    context.identity().map_or_else(|| address(context), Part::Identity)
}

/// One thing that a request is counted by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part<'a> {
    Address(u128),
    Identity(&'a Identity),
    /// The tenant of this identity.
    Tenant(&'a Identity),
    Text(&'a [u8]),
    Everyone,
    /// An address that nobody knows.
    Unknown,
}

impl Part<'_> {
    /// For counts in this process.
    pub(crate) fn hash(self, hasher: &mut impl Hasher) {
        match self {
            Self::Address(bits) => bits.hash(hasher),
            Self::Identity(identity) => (1_u8, identity.fingerprint()).hash(hasher),
            Self::Tenant(of) => (2_u8, of.issuer(), of.tenant()).hash(hasher),
            Self::Text(text) => (3_u8, text).hash(hasher),
            Self::Everyone => 4_u8.hash(hasher),
            Self::Unknown => 5_u8.hash(hasher),
        }
    }
    /// For counts that processes share: no two parts feed the same bytes.
    pub(crate) fn digest(self, digest: &mut Sha256) {
        let mut feed = |kind: u8, text: &[u8]| {
            digest.update([kind]);
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text);
        };
        match self {
            Self::Address(bits) => feed(0, &bits.to_be_bytes()),
            Self::Identity(identity) => feed(1, identity.key().to_string().as_bytes()),
            Self::Tenant(of) => {
                feed(2, of.issuer().as_bytes());
                feed(2, of.tenant().unwrap_or_default().as_bytes());
            }
            Self::Text(text) => feed(3, text),
            Self::Everyone => feed(4, b""),
            Self::Unknown => feed(5, b""),
        }
    }
}

impl<const N: usize> From<[Key; N]> for Key {
    fn from(keys: [Key; N]) -> Self {
        Self::All(Arc::new(keys))
    }
}
impl From<Vec<Key>> for Key {
    fn from(keys: Vec<Key>) -> Self {
        Self::All(keys.into())
    }
}

impl PartialEq for KeyFn {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
impl Eq for KeyFn {}

impl fmt::Debug for KeyFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFn").finish_non_exhaustive()
    }
}
