//! The route table, for people and for programs.
use portcullis_config::Gateway;
use serde_json::{Value, json};

pub(crate) fn json(gateway: &Gateway) -> String {
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
    let mut widths = [0; 7];
    for row in &rows {
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

fn options(route: &portcullis_core::Route) -> Vec<String> {
    route.options().describe().collect()
}
