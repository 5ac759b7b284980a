//! The checked-in table of stages, compared with the trait bounds and with what the compiler says.
use std::collections::BTreeMap;
use std::marker::PhantomData;

use portcullis::stage::*;

/// The cells of the table below `heading`: (outer, inner) to text.
pub(crate) fn table(heading: &str) -> BTreeMap<(String, String), String> {
    let page = include_str!("../stages.md");
    let (_, section) = page.split_once(heading).unwrap();
    let mut rows = section.lines().filter(|line| line.starts_with('|')).map(cells);
    let inner = rows.next().unwrap();
    let rows = rows.skip(1).take_while(|row| row.len() == inner.len());
    rows.flat_map(|row| {
        let outer = row[0].clone();
        inner[1..]
            .iter()
            .cloned()
            .zip(row[1..].to_vec())
            .map(move |(inner, cell)| ((outer.clone(), inner), cell))
    })
    .collect()
}

fn cells(line: &str) -> Vec<String> {
    line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// Whether `Inner: After<Outer>`: the inherent constant wins where the bound holds, the trait's where it does not.
struct Probe<Outer, Inner>(PhantomData<(Outer, Inner)>);
trait Refused {
    const ALLOWED: bool = false;
}
impl<Outer, Inner> Refused for Probe<Outer, Inner> {}
impl<Outer, Inner: After<Outer>> Probe<Outer, Inner> {
    const ALLOWED: bool = true;
}

macro_rules! probe {
    ($found:ident; $($outer:ident)*; $all:tt) => { $( probe!(@row $found $outer $all); )* };
    (@row $found:ident $outer:ident [$($inner:ident)*]) => {$(
        $found.insert((stringify!($outer).to_owned(), stringify!($inner).to_owned()), Probe::<$outer, $inner>::ALLOWED);
    )*};
}

#[test]
fn the_bounds_are_the_table() {
    let mut found = BTreeMap::new();
    probe!(found;
        Observe Edge Shed Route Answer PreLimit Authenticate Limit Authorize Idempotency Cache Inner;
        [Observe Edge Shed Route Answer PreLimit Authenticate Limit Authorize Idempotency Cache Inner]);
    let want: BTreeMap<_, _> =
        table("# Which stage may").into_iter().map(|(pair, cell)| (pair, cell == "+")).collect();
    assert_eq!(want.len(), 144);
    assert_eq!(found, want);
}
