//! Completions and manual pages, made from the command line's own description.

use std::io;

use clap::{Command, CommandFactory};

use crate::arguments::{Arguments, CompletionsArguments, ManArguments};
use crate::failure::Failure;
use crate::output;

pub fn completions(arguments: &CompletionsArguments) -> Result<(), Failure> {
    // The generator expects a writer that never fails.
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "esker", &mut text);
    output::outcome(io::Write::write_all(&mut io::stdout(), &text))
}

pub fn man(arguments: &ManArguments) -> Result<(), Failure> {
    let mut program = without_help(Arguments::command());
    program.build();
    if let Some(directory) = &arguments.directory {
        return clap_mangen::generate_to(program, directory)
            .map_err(|error| Failure::at(directory, format_args!("cannot write the pages: {error}")));
    }
    let command = arguments.command.iter().try_fold(&program, |command, name| {
        let found = command.find_subcommand(name);
        found.ok_or_else(|| Failure::new(format!("`{}` has no command `{name}`", called(command))))
    })?;
    let mut text = Vec::new();
    let page = clap_mangen::Man::new(command.clone());
    page.render(&mut text).map_err(|error| Failure::new(format!("cannot make the page: {error}")))?;
    output::outcome(io::Write::write_all(&mut io::stdout(), &text))
}

/// The commands that do something: each `help` beside them would only repeat the pages.
fn without_help(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}

fn called(command: &Command) -> &str {
    command.get_bin_name().unwrap_or(command.get_name())
}
