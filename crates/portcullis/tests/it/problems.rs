//! The registry of problems: unique, documented, and nothing documented that does not exist.
use std::collections::BTreeSet;

use portcullis::problems;

#[test]
fn every_kind_is_unique_and_documented_and_no_other() {
    let slugs: Vec<_> = problems::all().map(|kind| kind.slug()).collect();
    let unique: BTreeSet<_> = slugs.iter().copied().collect();
    assert_eq!(slugs.len(), unique.len(), "a slug stands twice in {slugs:?}");
    let page = include_str!("../../problems.md");
    let documented: BTreeSet<_> =
        page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(documented, unique);
}

#[test]
fn the_page_says_the_status_of_each_kind() {
    let page = include_str!("../../problems.md");
    for kind in problems::all() {
        let (_, section) = page.split_once(&format!("## {}\n\n", kind.slug())).unwrap();
        assert!(
            section.starts_with(&format!("Status {}. ", kind.status().as_u16())),
            "{}",
            kind.slug()
        );
        assert!(kind.status().is_client_error() || kind.status().is_server_error());
        // Of this page, or of the registry of IANA.
        let places = ["problems/index.html#", "/http-problem-types#"];
        let is_there = |place: &&str| kind.uri().ends_with(&format!("{place}{}", kind.slug()));
        assert!(places.iter().any(is_there), "{}", kind.uri());
    }
}
