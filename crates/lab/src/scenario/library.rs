//! Scenarios by name: each a file whose first line says what it shows.

/// A scenario of the library.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Named {
    /// As `--scenario` takes it.
    pub name: &'static str,
    /// The file.
    pub text: &'static str,
}

impl Named {
    /// What it shows, in one line.
    pub fn shows(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches('#').trim()
    }
}

macro_rules! library {
    ($($name:literal),+ $(,)?) => {
        &[$(Named { name: $name, text: include_str!(concat!("../../scenarios/", $name, ".toml")) }),+]
    };
}

const LIBRARY: &[Named] = library![
    "churning-overlay",
    "clock-skew",
    "flapping-node",
    "half-open-network",
    "mass-restart",
    "overloaded-minority",
    "rolling-upgrade",
    "slow-joiner",
    "split-and-heal",
    "storm-of-joins",
];

/// All of them, by name.
pub fn all() -> impl Iterator<Item = Named> {
    LIBRARY.iter().copied()
}

/// The one of a name.
pub fn find(name: &str) -> Option<Named> {
    all().find(|scenario| scenario.name == name)
}
