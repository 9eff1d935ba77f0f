//! `etl man`: the manual, one page a command, made of what `--help` says.

use std::{fmt::Write as _, fs, io, path::Path};

use clap_mangen::{
    Man,
    roff::{Roff, roman},
};
use serde_json::json;

use super::{args::ManArgs, display::Display, examples, text::counted};
use crate::{run::RunError, settings::refuse_file, store::StoreError};

/// A page of the manual.
struct Page {
    /// The name of its file, such as `etl-runs-show.1`.
    file: String,
    text: Vec<u8>,
}

/// Writes all pages into a folder; without one, prints the page of `etl` itself.
pub(super) fn run(args: &ManArgs, display: &Display) -> Result<u8, RunError> {
    if let Some(folder) = &args.dir {
        refuse_file("--dir", folder)?;
    }
    let mut command = examples::command();
    command.build();
    let Some(folder) = &args.dir else {
        let page = page(&command).map_err(|error| RunError::Internal(error.to_string()))?;
        display.verbatim(&String::from_utf8_lossy(&page.text));
        return Ok(0);
    };
    let mut all = Vec::new();
    pages(&command, &mut all).map_err(|error| RunError::Internal(error.to_string()))?;
    write_all(folder, &all)?;
    let files: Vec<_> = all.iter().map(|page| &page.file).collect();
    display.answer(&json!({"dir": folder, "pages": files}), |out| {
        let _ = writeln!(out, "{} in {}", counted(all.len() as u64, "page"), folder.display());
    });
    Ok(0)
}

/// The pages of a command and of all commands below it.
fn pages(command: &clap::Command, all: &mut Vec<Page>) -> io::Result<()> {
    all.push(page(command)?);
    command.get_subcommands().filter(|child| !child.is_hide_set()).try_for_each(|child| pages(child, all))
}

fn page(command: &clap::Command) -> io::Result<Page> {
    let examples = command.get_after_help().map(ToString::to_string);
    let man = Man::new(command.clone().after_help(None::<&'static str>)).manual("etl");
    let mut text = Vec::new();
    man.render(&mut text)?;
    if let Some(examples) = examples {
        // The lines stay lines.
        let mut section = Roff::new();
        section.control("SH", ["EXAMPLES"]).control("nf", []);
        examples.lines().skip(1).for_each(|line| _ = section.text([roman(line.trim_start())]));
        section.control("fi", []);
        section.to_writer(&mut text)?;
    }
    Ok(Page { file: man.get_filename(), text })
}

fn write_all(folder: &Path, pages: &[Page]) -> Result<(), StoreError> {
    fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
    for page in pages {
        let path = folder.join(&page.file);
        fs::write(&path, &page.text).map_err(StoreError::io("write", &path))?;
    }
    Ok(())
}
