//! `cargo xtask chaos`: what the server of `examples/frontdoor` and the gateway do when they are treated badly.
use crate::args::Args;
use crate::bench::conditions;
use crate::command::Cmd;
use crate::{Failure, Result, Workspace};

pub(crate) fn main(workspace: &Workspace, mut args: Args) -> Result {
    let file = args.option("--write")?;
    let Some(name) = args.word() else {
        return Err(Failure::new(
            "say `cargo xtask chaos restart|slow|floods|faults|gateway|failing|reload|upgrade|stores|overload|limits|all`",
        ));
    };
    args.end()?;
    Cmd::new("cargo build --release --package frontdoor --package portcullis-cli --package portcullis-chaos").run()?;
    let program = |name| workspace.program(name).display().to_string();
    // Through `env`, for a path may have spaces.
    let mut chaos = Cmd::new("env").arg(program("portcullis-chaos"));
    chaos = chaos.args(["--server".to_owned(), program("frontdoor")]);
    chaos = chaos.args(["--gateway".to_owned(), program("portcullis")]);
    chaos = chaos.args(["--note".to_owned(), conditions(&format!("cargo xtask chaos {name}"))?]);
    if let Some(file) = file {
        let file = workspace.root.join(file).display().to_string();
        chaos = chaos.args(["--write".to_owned(), file]);
    }
    chaos.arg(name).run()
}
