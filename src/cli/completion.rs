//! `platform completion`: the script that a shell reads at its start. It calls this command back for every TAB
//! (complete.rs), so it never grows old.

use clap::{Args, ValueEnum};
use clap_complete::env::Shells;

use super::failure::{Exit, Failure};
use super::print::text_out;

#[derive(Debug, Args)]
#[command(after_help = "bash:  source <(platform completion bash)\n\
                        zsh:   source <(platform completion zsh)\n\
                        fish:  platform completion fish | source\n\n\
                        In the file that your shell reads at its start, so that every new one knows it.")]
pub struct Arguments {
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
}

pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let name =
        arguments.shell.to_possible_value().map(|shell| shell.get_name().to_string()).unwrap_or_default();
    let mut script = Vec::new();
    if let Some(shell) = Shells::builtins().completer(&name) {
        shell.write_registration("COMPLETE", "platform", "platform", "platform", &mut script)?;
    }
    text_out(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
