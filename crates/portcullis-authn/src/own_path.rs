//! Where a browser may be sent: paths of this site.

/// A path of this very site, and nothing that a browser could read as another one (RFC 9700, section 4.11: open redirectors).
pub(crate) fn own_path(text: &str) -> Option<&str> {
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\' || !c.is_ascii();
    let own = text.starts_with('/') && !text.starts_with("//") && text.len() <= 2_000;
    (own && !text.chars().any(is_odd)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::own_path;

    #[test]
    fn only_a_path_of_this_site_is_one() {
        for own in ["/", "/orders?page=2", "/a//b", "/a%2f%2fb", "/@evil.example"] {
            assert_eq!(own_path(own), Some(own));
        }
        for other in [
            "",
            "orders",
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/\t/evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            " /orders",
            "/\u{ff0f}evil.example",
            "/\r\nset-cookie: a=b",
            &format!("/{}", "a".repeat(2_000)),
        ] {
            assert_eq!(own_path(other), None, "{other}");
        }
    }
}
