//! The route table, for people and for programs.
use portcullis_config::Gateway;
use portcullis_ratelimit::Limits;
use serde_json::{Map, Value, json};

pub(crate) fn json(gateway: &Gateway) -> String {
    let limits: Map<_, _> =
        gateway.limits().map(|(name, text)| (name.to_owned(), text.into())).collect();
    let routes: Vec<Value> = gateway
        .routes()
        .map(|(route, to)| {
            let matching = route.matching();
            json!({
                "name": route.name(),
                "methods": route.methods().to_string(),
                "path": route.template(),
                "hosts": matching.hosts().collect::<Vec<_>>(),
                "conditions": matching.conditions().collect::<Vec<_>>(),
                "access": route.access().to_string(),
                "options": options(&route),
                "limits": limits_of(&route, &limits),
                "to": to,
            })
        })
        .collect();
    format!("{:#}\n", Value::from(routes))
}

pub(crate) fn table(gateway: &Gateway) -> String {
    let mut rows =
        vec![["NAME", "METHODS", "PATH", "IF", "ACCESS", "OPTIONS", "TO"].map(str::to_owned)];
    for (route, to) in gateway.routes() {
        let options = options(&route);
        rows.push([
            route.name().unwrap_or_default().to_owned(),
            route.methods().to_string(),
            route.template().to_owned(),
            route.matching().to_string(),
            route.access().to_string(),
            options.join(", "),
            to,
        ]);
    }
    let mut text = aligned(&rows);
    if gateway.limits().len() > 0 {
        let limits = gateway.limits().map(|(name, text)| [name.to_owned(), text]);
        let rows: Vec<_> =
            [["LIMIT", "WHAT"].map(str::to_owned)].into_iter().chain(limits).collect();
        text.push('\n');
        text.push_str(&aligned(&rows));
    }
    text
}

/// A line for each row, whose cells are below each other.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells: Vec<_> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The limits that a route names, in words.
fn limits_of(route: &portcullis_core::Route, limits: &Map<String, Value>) -> Map<String, Value> {
    let named = route.options().get::<Limits>().into_iter().flat_map(Limits::names);
    named.filter_map(|name| Some((name.to_owned(), limits.get(name)?.clone()))).collect()
}

fn options(route: &portcullis_core::Route) -> Vec<String> {
    route.options().describe().collect()
}
