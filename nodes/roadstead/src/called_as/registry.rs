//! The CNCF registry's command line: `registry serve <config>`, `registry garbage-collect [-d] [-m] [-q] <config>`,
//! `registry --version`, `registry help`.
//!
//! As there, a configuration that is not right is said on standard error together with the usage, with exit code 1.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{ArgAction, CommandFactory as _, Parser, Subcommand};
use roadstead_registry::CollectOptions;

use crate::garbage_collect::{self, Wanted};
use crate::{log, serve, wiring};

/// A container registry (Roadstead, called as the CNCF registry).
#[derive(Debug, Parser)]
#[command(name = "registry", max_term_width = 100, disable_version_flag = true)]
struct Arguments {
    /// Print the version and exit.
    #[arg(short = 'v', long, global = true)]
    version: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a registry.
    Serve {
        /// The configuration file; else the one that `REGISTRY_CONFIGURATION_PATH` names.
        config: Option<PathBuf>,
    },
    /// Remove what no manifest names any more.
    GarbageCollect {
        /// Say what would go, and remove nothing.
        #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
            default_missing_value = "true", default_value = "false", action = ArgAction::Set)]
        dry_run: bool,
        /// Remove manifests that no tag leads to as well.
        #[arg(short = 'm', long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
            default_missing_value = "true", default_value = "false", action = ArgAction::Set)]
        delete_untagged: bool,
        /// Say nothing of what is done.
        #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
            default_missing_value = "true", default_value = "false", action = ArgAction::Set)]
        quiet: bool,
        /// The configuration file; else the one that `REGISTRY_CONFIGURATION_PATH` names.
        config: Option<PathBuf>,
    },
}

pub(crate) fn run() -> Result<ExitCode> {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(said) => {
            let failed = said.use_stderr();
            said.print()?;
            return Ok(if failed {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            });
        }
    };
    let out = std::io::stdout();
    if arguments.version {
        // Three words, as the CNCF registry has them: the name called, whose program it is, its version.
        writeln!(&out, "registry roadstead v{}", env!("CARGO_PKG_VERSION"))?;
        return Ok(ExitCode::SUCCESS);
    }
    match arguments.command {
        None => {
            write!(&out, "{}", Arguments::command().render_help())?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Serve { config }) => {
            if let Some(failure) = misconfigured("serve", config.as_ref())? {
                return Ok(failure);
            }
            serve::run(config, serve::Role::Alone)
        }
        Some(Command::GarbageCollect {
            dry_run,
            delete_untagged,
            quiet,
            config,
        }) => {
            if let Some(failure) = misconfigured("garbage-collect", config.as_ref())? {
                return Ok(failure);
            }
            let options = CollectOptions {
                dry_run,
                delete_untagged,
            };
            garbage_collect::run(config, Wanted::Collected(options), quiet)
        }
    }
}

/// Reads the configuration once before it is used. With mistakes: says them, and the usage.
fn misconfigured(subcommand: &str, config: Option<&PathBuf>) -> Result<Option<ExitCode>> {
    let Err(error) = wiring::load(config.cloned()) else {
        return Ok(None);
    };
    let mut err = std::io::stderr();
    writeln!(err, "configuration error: {}", log::causes(&error))?;
    let mut command = Arguments::command();
    command.build();
    if let Some(subcommand) = command.find_subcommand_mut(subcommand) {
        write!(err, "{}", subcommand.render_help())?;
    }
    Ok(Some(ExitCode::FAILURE))
}
