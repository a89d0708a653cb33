//! Packages of other Debian suites than the machine's own, without installing anything.
//!
//! apt does the work, with a source list and a state of its own below target/: what the machine has
//! installed, and where it installs from, is neither used nor changed. Which mirror to ask is read from the
//! machine's own sources.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::sh;

/// How long package lists are taken for new.
const FRESH: Duration = Duration::from_hours(24);

/// A mirror that does not answer.
const LIMIT: Duration = Duration::from_mins(5);

/// What Debian's own package of keys installs; where it is missing, apt uses the keys that it trusts anyway.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Some suites of Debian's archive.
pub struct Archive {
    folder: PathBuf,
}

/// Where a machine gets Debian's packages from.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mirrors {
    main: Option<String>,
    security: Option<String>,
}

impl Archive {
    /// Opens suites with apt's state in a folder; asks the mirror if what is there is old.
    pub fn new(suites: &[&str], folder: &Path) -> Result<Self> {
        for name in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(name))
                .with_context(|| format!("cannot create {}", folder.join(name).display()))?;
        }
        let archive = Self { folder: folder.to_path_buf() };
        let updated = folder.join("updated");
        if !is_fresh(&updated) {
            let sources = sources(&mirrors()?, suites, Path::new(KEYRING).is_file())?;
            fs::write(folder.join("debian.sources"), sources)?;
            // An empty list of what is installed.
            fs::write(folder.join("status"), "")?;
            // A mirror that cannot be reached must not count as one that was read.
            eprintln!("vm       reading what Debian's {} offers", suites.join(" and "));
            // To the end of this program's messages: standard output belongs to the guest's command.
            match sh::run_within(
                archive
                    .apt("apt-get")
                    .args(["update", "-qq", "-o", "APT::Update::Error-Mode=any"])
                    .stdout(std::io::stderr()),
                LIMIT,
            ) {
                Ok(()) => fs::write(&updated, "")?,
                Err(error) => eprintln!("vm       going on with the lists that are there: {error:#}"),
            }
        }
        Ok(archive)
    }

    /// The packages whose names fit a pattern.
    pub fn search(&self, pattern: &str) -> Result<Vec<String>> {
        let found = sh::output(self.apt("apt-cache").args(["search", "--names-only", pattern]))?;
        Ok(parse_search(&found))
    }

    /// Downloads a package and unpacks it into a folder.
    pub fn unpack(&self, package: &str, into: &Path) -> Result<()> {
        let downloads = self.folder.join("downloads");
        if downloads.exists() {
            fs::remove_dir_all(&downloads)
                .with_context(|| format!("cannot empty {}", downloads.display()))?;
        }
        fs::create_dir_all(&downloads)?;
        fs::create_dir_all(into).with_context(|| format!("cannot create {}", into.display()))?;
        eprintln!("vm       downloading {package}");
        let mut download = self.apt("apt-get");
        download.args(["download", "-qq", package]).current_dir(&downloads).stdout(std::io::stderr());
        sh::run_within(&mut download, LIMIT)?;
        let file = fs::read_dir(&downloads)?.next().context("apt-get has downloaded nothing")??.path();
        sh::run(Command::new("dpkg-deb").arg("--extract").arg(file).arg(into))?;
        fs::remove_dir_all(&downloads)?;
        Ok(())
    }

    /// A program of apt on this archive alone.
    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = |name: &str| self.folder.join(name).display().to_string();
        for (option, value) in [
            ("Dir::Etc::SourceList", path("debian.sources")),
            ("Dir::Etc::SourceParts", "-".into()),
            ("Dir::State", path("")),
            ("Dir::State::Lists", path("lists")),
            ("Dir::State::Status", path("status")),
            ("Dir::Cache", path("cache")),
            ("Acquire::Languages", "none".into()),
            // The folder is the user's, and apt's own user may not be able to get there.
            ("APT::Sandbox::User", "root".into()),
        ] {
            command.arg("-o").arg(format!("{option}={value}"));
        }
        command
    }
}

fn is_fresh(stamp: &Path) -> bool {
    let modified = fs::metadata(stamp).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age < FRESH))
}

/// Asks apt where this machine's packages come from.
fn mirrors() -> Result<Mirrors> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(LABEL)|$(REPO_URI)", "Created-By: Packages"]);
    let found =
        parse_targets(&sh::output(&mut targets).context("this machine's package sources cannot be read")?);
    if found.main.is_none() {
        bail!(
            "this machine's apt sources name no Debian mirror (a URI that ends in /debian); \
             give a kernel of your own: --kernel PATH --modules DIR"
        );
    }
    Ok(found)
}

/// Reads lines of `label|URI`. Without package lists there is no label yet, but the URI's end tells as much.
fn parse_targets(targets: &str) -> Mirrors {
    let mut mirrors = Mirrors::default();
    for (label, uri) in targets.lines().filter_map(|line| line.split_once('|')) {
        let uri = uri.trim_end_matches('/');
        let known = match label {
            "Debian" => &mut mirrors.main,
            "Debian-Security" => &mut mirrors.security,
            _ if uri.ends_with("/debian") => &mut mirrors.main,
            _ if uri.ends_with("/debian-security") => &mut mirrors.security,
            _ => continue,
        };
        known.get_or_insert_with(|| uri.to_owned());
    }
    mirrors
}

/// A source list for suites and their security updates, where suites have them.
fn sources(mirrors: &Mirrors, suites: &[&str], keyring: bool) -> Result<String> {
    let stanza = |uri: &str, suites: &str| {
        let key = if keyring { format!("Signed-By: {KEYRING}\n") } else { String::new() };
        format!("Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nTargets: Packages\n{key}\n")
    };
    let main = mirrors.main.as_deref().context("there is no Debian mirror")?;
    let mut text = stanza(main, &suites.join(" "));
    let released: Vec<_> = suites
        .iter()
        .filter(|suite| **suite != "sid" && !suite.contains('-'))
        .map(|suite| format!("{suite}-security"))
        .collect();
    if let (Some(security), false) = (&mirrors.security, released.is_empty()) {
        text += &stanza(security, &released.join(" "));
    }
    Ok(text)
}

/// Reads lines of `name - description`.
fn parse_search(found: &str) -> Vec<String> {
    found.lines().filter_map(|line| line.split_once(" - ")).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Archive, Mirrors, parse_search, parse_targets, sources};

    #[test]
    fn a_cache_that_cannot_be_written_is_named() {
        let error = Archive::new(&["bookworm"], "/proc/none".as_ref()).err().unwrap().to_string();
        assert!(error.starts_with("cannot create /proc/none/lists"), "{error}");
    }

    fn mirrors(main: &str, security: Option<&str>) -> Mirrors {
        Mirrors { main: Some(main.to_owned()), security: security.map(str::to_owned) }
    }

    #[test]
    fn the_mirror_is_the_one_that_the_machine_uses() {
        let targets = "\
$(LABEL)|https://packages.example.org/apt/
Debian-Security|http://mirror.example.org/debian-security/
Debian|http://mirror.example.org/debian/
Debian|http://other.example.org/debian/
";
        let expected =
            mirrors("http://mirror.example.org/debian", Some("http://mirror.example.org/debian-security"));
        assert_eq!(parse_targets(targets), expected);
    }

    #[test]
    fn a_machine_that_never_read_its_lists_has_a_mirror_too() {
        let targets = "$(LABEL)|http://mirror.example.org/debian/\n";
        assert_eq!(parse_targets(targets), mirrors("http://mirror.example.org/debian", None));
    }

    #[test]
    fn another_distribution_has_none() {
        let targets = "Ubuntu|http://archive.example.org/ubuntu/\n";
        assert_eq!(parse_targets(targets), Mirrors::default());
        assert!(sources(&parse_targets(targets), &["sid"], true).is_err());
    }

    #[test]
    fn security_updates_come_along_where_a_suite_has_them() {
        let mirrors = mirrors("http://m/debian", Some("http://m/debian-security"));
        let text = sources(&mirrors, &["bullseye"], false).unwrap();
        assert_eq!(
            text,
            "Types: deb\nURIs: http://m/debian\nSuites: bullseye\nComponents: main\nTargets: Packages\n\n\
             Types: deb\nURIs: http://m/debian-security\nSuites: bullseye-security\nComponents: main\n\
             Targets: Packages\n\n"
        );
        let without = sources(&mirrors, &["trixie-backports", "sid"], true).unwrap();
        assert!(!without.contains("security"), "{without}");
        assert!(without.contains("Suites: trixie-backports sid\n"), "{without}");
        assert!(without.contains("Signed-By: /"), "{without}");
    }

    #[test]
    fn names_are_read_from_a_search() {
        let found = "\
linux-image-6.1.0-50-cloud-amd64-unsigned - Linux 6.1 for x86-64 cloud
linux-image-6.1.0-50-cloud-amd64 - Linux 6.1 for x86-64 cloud (signed)
";
        assert_eq!(
            parse_search(found),
            ["linux-image-6.1.0-50-cloud-amd64-unsigned", "linux-image-6.1.0-50-cloud-amd64"]
        );
        assert!(parse_search("").is_empty());
    }
}
