//! What is no longer good.
use std::sync::Arc;

/// What is taken out of the cache, in all scopes.
///
/// Whatever was asked of the origin before the purge counts as stored before it, also if it arrives later.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Purge {
    pub(crate) what: What,
    pub(crate) soft: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum What {
    /// A URL in the spelling of [`Key::url_text`](crate::Key::url_text), with its query.
    Url(Arc<str>),
    /// Every URL that begins with it.
    Prefix(Arc<str>),
    Tag(Arc<str>),
    /// A group of one origin (RFC 9875).
    Group {
        origin: Arc<str>,
        group: Arc<str>,
    },
    Everything,
}

impl Purge {
    fn hard(what: What) -> Self {
        Self { what, soft: false }
    }
    /// What is stored of one URL, such as `https://shop.example/books/1?page=2`: all variants, in every scope.
    pub fn url(url: impl Into<Arc<str>>) -> Self {
        Self::hard(What::Url(url.into()))
    }
    /// What is stored of every URL that begins with this text, such as `https://shop.example/books/`.
    pub fn prefix(prefix: impl Into<Arc<str>>) -> Self {
        Self::hard(What::Prefix(prefix.into()))
    }
    /// What carries a tag.
    pub fn tag(tag: impl Into<Arc<str>>) -> Self {
        Self::hard(What::Tag(tag.into()))
    }
    /// What belongs to a group (RFC 9875) of an origin, such as `https://shop.example`.
    pub fn group(origin: impl Into<Arc<str>>, group: impl Into<Arc<str>>) -> Self {
        Self::hard(What::Group { origin: origin.into(), group: group.into() })
    }
    /// Everything.
    pub fn everything() -> Self {
        Self::hard(What::Everything)
    }
    /// Makes it stale in place of taking it out: it is validated before it is used again, and may be served until then where `stale-while-revalidate` or `stale-if-error`
    /// allows it.
    #[must_use]
    pub fn soft(self) -> Self {
        Self { soft: true, ..self }
    }
    /// Whether it makes stale, in place of taking out.
    pub fn is_soft(&self) -> bool {
        self.soft
    }
    /// What it takes out, as text: for stores that tell others. No two that take out something else have the same; whether it is soft is not in it.
    pub fn to_text(&self) -> String {
        match &self.what {
            What::Url(url) => format!("u{url}"),
            What::Prefix(prefix) => format!("p{prefix}"),
            What::Tag(tag) => format!("t{tag}"),
            What::Group { origin, group } => format!("g{origin}\0{group}"),
            What::Everything => "*".to_owned(),
        }
    }
    /// The purge that has this [text](Self::to_text), a hard one.
    pub fn from_text(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::everything());
        }
        let mut rest = text.chars();
        let kind = rest.next()?;
        let rest = rest.as_str();
        match kind {
            'u' => Some(Self::url(rest)),
            'p' => Some(Self::prefix(rest)),
            't' => Some(Self::tag(rest)),
            'g' => rest.split_once('\0').map(|(origin, group)| Self::group(origin, group)),
            _ => None,
        }
    }
}
