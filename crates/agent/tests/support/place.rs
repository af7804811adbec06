//! What a cluster with an authority needs, in one directory.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::{run, text};

/// A directory with the key and the authority of a cluster, and what its agents need beside them.
pub(crate) struct Place {
    directory: tempfile::TempDir,
    common: Vec<String>,
}

impl Place {
    /// Its agents have these arguments besides.
    pub(crate) fn new(more: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = Self { directory, common: Vec::new() };
        let (key, authority) = (place.path("key"), place.path("authority"));
        assert!(run(&["keygen", &key]).status.success());
        let made = run(&["authority", "new", &authority]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        assert_eq!(fs::metadata(&authority).unwrap().mode() & 0o7777, 0o600);
        let public = text(&run(&["authority", "show", &authority]).stdout);
        assert!(text(&made.stdout).contains(public.trim()), "what agents need is printed");
        let setting = format!("authority={}", public.trim());
        let common = ["--key-file", &key, "--set", "identity=signed", "--set", &setting, "--set", "log_level=info"];
        Self { common: [more, &common].concat().into_iter().map(str::to_owned).collect(), ..place }
    }

    /// Where something of that name is.
    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Makes a certificate for the node whose data directory has that name.
    pub(crate) fn admit(&self, name: &str, more: &[&str]) -> String {
        let certificate = self.path(&format!("{name}.cert"));
        let (authority, directory) = (self.path("authority"), self.path(name));
        let admit = ["authority", "admit", &authority, "--data-dir", &directory, "--out", &certificate];
        let made = run(&[&admit[..], more].concat());
        assert!(made.status.success(), "{}", text(&made.stderr));
        certificate
    }

    /// What a node of that name is started with, and a certificate if there is one.
    pub(crate) fn arguments(&self, name: &str, certificate: Option<&str>) -> Vec<String> {
        let mut arguments = self.common.clone();
        arguments.extend(["--data-dir".to_owned(), self.path(name)]);
        arguments.extend(certificate.into_iter().flat_map(|path| ["--certificate".to_owned(), path.to_owned()]));
        arguments
    }
}

/// Arguments as commands take them.
pub(crate) fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}
