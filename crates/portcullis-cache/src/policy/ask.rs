//! Asking the origin whether what is stored is still good (RFC 9111, section 4.3.1).
use http::HeaderMap;
use http::header::{
    ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
    RANGE,
};

use super::Stored;

impl Stored {
    /// Makes a request one that asks whether this response is still good. What the client asks on condition, or of a part, is answered from what is stored then, and is
    /// taken out; so it is where this response has no validator, since all of it is needed.
    pub fn ask_again(&self, headers: &mut HeaderMap) {
        for name in
            [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE]
        {
            headers.remove(name);
        }
        for (validator, condition) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
            if let Some(value) = self.headers.get(validator) {
                headers.insert(condition, value.clone());
            }
        }
    }
}
