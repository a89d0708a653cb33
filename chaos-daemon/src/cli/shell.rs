//! Completions and the manual page, generated from the command line's one definition.

use anyhow::Context;
use clap_complete::Shell;

use super::{Exit, Failure, command, output};

/// Arguments of `kchaos completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// For this shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints a completion script.
pub fn completions(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "kchaos", &mut script);
    output::text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// Arguments of `kchaos man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The page of this command: run, inject drop
    #[arg(value_name = "COMMAND")]
    words: Vec<String>,
}

/// Prints the manual page.
pub fn man(args: &ManArgs) -> Result<Exit, Failure> {
    let mut command = command();
    let mut name = "kchaos".to_owned();
    for word in &args.words {
        let Some(found) = command.find_subcommand(word) else {
            return Err(Failure::Input(format!("there is no command {} {word}", name.replace('-', " "))));
        };
        name = format!("{name}-{word}");
        command = found.clone().name(name.clone());
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).context("writing the manual page")?;
    output::text(&String::from_utf8_lossy(&page))?;
    Ok(Exit::Done)
}
