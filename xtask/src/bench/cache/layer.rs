//! The layer by itself, in one process and without a network: beside the service that it stands in front of, and beside moka alone.
use crate::bench::instructions::counted;
use crate::bench::sessions::median;
use crate::bench::table::{markdown, number};
use crate::command::Cmd;
use crate::{Failure, Result, Workspace};

const PROGRAM: &str = "cache";
/// How often each is timed, in turn, so that a noisy while touches both.
const ROUNDS: usize = 5;
const HEAD: [&str; 4] = ["a hit, in process", "time", "instructions", "allocations"];

/// What a hit costs, and what is kept takes.
pub(super) fn table(workspace: &Workspace) -> Result<String> {
    eprintln!("in process");
    let costs = counted(workspace, PROGRAM)?;
    let program = workspace.program(PROGRAM).display().to_string();
    let ask = |word: &str| {
        let run = Cmd::new("env").arg(&program).arg(word);
        let said = run.read()?;
        let figures: Vec<_> = said.lines().filter_map(figure).collect();
        if figures.is_empty() { Err(Failure::of(&run, "it says no figures")) } else { Ok(figures) }
    };
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        times.extend(ask("time")?);
    }
    let rows = costs.iter().map(|(variant, counts)| {
        let its = times.iter().filter(|(name, _)| name == variant).map(|(_, nanos)| *nanos);
        let time = median(its.collect());
        vec![
            variant.clone(),
            time.map_or_else(|| "-".to_owned(), |nanos| format!("{nanos:.0} ns")),
            number(counts.instructions),
            number(counts.allocations),
        ]
    });
    let hits = markdown(&HEAD, &rows.collect::<Vec<_>>());
    let kept = ask("memory")?;
    let kept: Vec<_> = kept.into_iter().map(|(name, bytes)| vec![name, number(bytes)]).collect();
    Ok(format!("{hits}\n{}", markdown(&["kept in process, 1 KiB", "bytes an object"], &kept)))
}

/// `VARIANT: 123.4 ns` or `VARIANT: 1234 bytes`.
fn figure(line: &str) -> Option<(String, f64)> {
    let (name, figure) = line.rsplit_once(": ")?;
    let figure = figure.strip_suffix(" ns").or_else(|| figure.strip_suffix(" bytes"))?;
    Some((name.to_owned(), figure.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read() {
        assert_eq!(figure("moka: get: 81.5 ns"), Some(("moka: get".to_owned(), 81.5)));
        assert_eq!(figure("moka: 1184 bytes"), Some(("moka".to_owned(), 1184.0)));
        assert_eq!(figure("usage: cache list"), None);
    }
}
