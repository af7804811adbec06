//! `rumor config`: settings without an agent.

use std::path::Path;

use super::Output;
use crate::cli::{Config, ConfigShow};
use crate::failure::Failure;
use crate::print;
use crate::settings::{self, Layers, Preset, Settings};

pub(super) fn run(command: Config, output: Output) -> Result<(), Failure> {
    match command {
        Config::Show(flags) => show(&flags, output),
        Config::Check { file } => check(&file, output),
        Config::Default { preset } => default(preset, output),
    }
}

fn show(flags: &ConfigShow, output: Output) -> Result<(), Failure> {
    let preset = flags.preset.iter().map(|preset| format!("preset={preset}"));
    let assignments: Vec<String> = preset.chain(flags.set.iter().cloned()).collect();
    let layers = Layers::of_machine(flags.config.as_deref())?.with_set(&assignments)?;
    list(&layers, output)
}

fn check(file: &Path, output: Output) -> Result<(), Failure> {
    Settings::of_file(file)?;
    if !output.json {
        print::note(format!("{}: every setting is known, and they fit together", file.display()));
    }
    Ok(output.done()?)
}

fn default(preset: Option<String>, output: Output) -> Result<(), Failure> {
    let assignments: Vec<String> = preset.iter().map(|preset| format!("preset={preset}")).collect();
    let layers = Layers::default().with_set(&assignments)?;
    if output.json {
        return list(&layers, output);
    }
    let (agent, _) = layers.resolve()?;
    let preset: Preset = agent.preset;
    Ok(print::line(settings::default_file(preset).trim_end())?)
}

fn list(layers: &Layers, output: Output) -> Result<(), Failure> {
    let settings = settings::catalogue(layers)?;
    if output.json {
        return Ok(print::json(&settings)?);
    }
    let header = ["SETTING", "VALUE", "DEFAULT", "UNIT", "SET BY", "A CHANGE TAKES", "SOURCE OF THE DEFAULT"];
    for line in print::table(&header, &settings::rows(&settings)) {
        print::line(line)?;
    }
    Ok(())
}
