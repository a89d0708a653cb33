//! The kernels that guests boot: Debian's, fetched when first asked for, or one of the user's own.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, Result};

use super::{debian::Archive, image};
use crate::{setup::unpacked::DEPMOD, sh};

/// The lines of kernels that kchaos is tried on, and where in Debian's archive they are.
pub const LINES: [(&str, &[&str]); 4] = [
    ("5.10", &["bullseye"]),
    ("6.1", &["bookworm"]),
    ("6.12", &["trixie"]),
    // Where it is depends on how far the release has gone on.
    ("7.2", &["trixie-backports", "sid"]),
];

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// One of Debian's lines, such as 6.1.
    Line(&'static str),
    /// A file.
    File(PathBuf),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((line, _)) = LINES.iter().find(|(line, _)| *line == text) {
            return Ok(Self::Line(line));
        }
        if text.contains('/') || Path::new(text).is_file() {
            return Ok(Self::File(text.into()));
        }
        let known: Vec<_> = LINES.iter().map(|(line, _)| *line).collect();
        Err(format!("there is a kernel for {}; or give the path of a vmlinuz", known.join(", ")))
    }
}

/// A kernel that can be booted.
pub struct Kernel {
    /// For people: the line and the release, or the file.
    pub name: String,
    pub image: PathBuf,
    /// The folder that holds modules.dep; without it no module is loaded.
    pub modules: Option<PathBuf>,
    /// Where it is kept, if it was fetched.
    folder: Option<PathBuf>,
}

impl Kernel {
    /// Finds or fetches what was asked for.
    pub fn get(choice: &Choice, modules: Option<&Path>, cache: &Path) -> Result<Self> {
        let kernel = match choice {
            Choice::File(image) => {
                let (image, modules) = (image.clone(), image::modules(image, modules)?);
                Self { name: image.display().to_string(), image, modules, folder: None }
            }
            Choice::Line(line) => {
                let suites =
                    LINES.iter().find(|(known, _)| known == line).map_or(&[][..], |(_, suites)| suites);
                fetched(line, suites, cache)
                    .with_context(|| format!("there is no kernel {line} to be had"))?
            }
        };
        image::require(&kernel.image).with_context(|| kernel.again())?;
        Ok(kernel)
    }

    /// What to do about files that are damaged.
    pub fn again(&self) -> String {
        match &self.folder {
            Some(folder) => {
                format!("kernel {} is damaged; remove {} to fetch it again", self.name, folder.display())
            }
            None => format!("kernel {} cannot be used", self.name),
        }
    }
}

/// The newest kernel of a line, unpacked in the cache.
fn fetched(line: &str, suites: &[&str], cache: &Path) -> Result<Kernel> {
    let (package, archive) = match offered(line, suites, cache) {
        Ok((package, archive)) => (package, Some(archive)),
        // Without a network, one that was fetched earlier will do.
        Err(error) => match newest(line, &fetched_before(cache)) {
            Some(package) => {
                eprintln!("vm       going on with {package}, which was fetched before: {error:#}");
                (package, None)
            }
            None => return Err(error),
        },
    };
    let folder = cache.join("kernels").join(&package);
    if let (Some(archive), false) = (archive, folder.is_dir()) {
        let new = cache.join("kernels").join(format!("{package}.new"));
        if new.exists() {
            fs::remove_dir_all(&new).with_context(|| format!("cannot remove {}", new.display()))?;
        }
        unpack(&archive, &package, &new)?;
        index_modules(&new)?;
        image_file(&new)?;
        // Complete or not there at all.
        fs::rename(&new, &folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let image = image_file(&folder)?;
    let modules = Some(modules_folder(&folder)?);
    Ok(Kernel { name: format!("{line} ({package})"), image, modules, folder: Some(folder) })
}

/// The newest package of a line that the archive has.
fn offered(line: &str, suites: &[&str], cache: &Path) -> Result<(String, Archive)> {
    let archive = Archive::new(suites, &cache.join("apt").join(line))?;
    let names = archive
        .search(&format!("^linux-image-{}[.-].*cloud-amd64(-unsigned)?$", line.replace('.', "\\.")))?;
    Ok((pick(line, suites, &names)?, archive))
}

fn pick(line: &str, suites: &[&str], names: &[String]) -> Result<String> {
    newest(line, names).with_context(|| {
        format!(
            "Debian's {} offers no package linux-image-{line}*-cloud-amd64, or cannot be reached",
            suites.join(" and ")
        )
    })
}

/// The packages that are unpacked in the cache.
fn fetched_before(cache: &Path) -> Vec<String> {
    let entries = fs::read_dir(cache.join("kernels")).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Unpacks a kernel, whether it is in one package or, as from 7.2 on, in two that the first one names.
fn unpack(archive: &Archive, package: &str, into: &Path) -> Result<()> {
    archive.unpack(package, into)?;
    if modules_folder(into).is_err() {
        for part in parts(package) {
            archive.unpack(&part, into)?;
        }
    }
    Ok(())
}

/// The packages of the image and of the modules.
fn parts(package: &str) -> [String; 2] {
    ["linux-binary", "linux-modules"].map(|part| package.replacen("linux-image", part, 1))
}

/// The package with the highest numbers in its name; the signed one where there are both.
fn newest(line: &str, packages: &[String]) -> Option<String> {
    let rank = |name: &String| {
        let release = name.strip_prefix("linux-image-")?;
        let (release, kind) = release.split_once("-cloud-amd64")?;
        // 6.1 is not 6.12.
        let of_the_line = release.strip_prefix(line)?.starts_with(['.', '-']);
        let known = of_the_line && matches!(kind, "" | "-unsigned");
        let numbers: Vec<u32> =
            release.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect();
        known.then_some((numbers, kind.is_empty()))
    };
    let ranked = packages.iter().filter_map(|name| Some((rank(name)?, name)));
    ranked.max().map(|(_, name)| name.clone())
}

/// Writes modules.dep, which a package's installation would have written.
fn index_modules(folder: &Path) -> Result<()> {
    let modules = modules_folder(folder)?;
    let release = modules.file_name().context("the kernel's package has no modules")?;
    // `depmod` looks below lib/modules of what it is given.
    let base = modules.ancestors().nth(3).context("the kernel's package has no modules")?;
    sh::output(DEPMOD.command()?.arg("-b").arg(base).arg(release)).map(drop)
}

/// Newer packages have the image beside its modules.
fn image_file(folder: &Path) -> Result<PathBuf> {
    let beside = modules_folder(folder)?.join("vmlinuz");
    if beside.is_file() { Ok(beside) } else { only_entry(&folder.join("boot"), "vmlinuz-") }
}

/// Newer packages have everything below usr.
fn modules_folder(folder: &Path) -> Result<PathBuf> {
    let usr = folder.join("usr/lib/modules");
    only_entry(&if usr.is_dir() { usr } else { folder.join("lib/modules") }, "")
}

/// The entry of a folder whose name starts like this.
fn only_entry(folder: &Path, start: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = entries.filter_map(Result::ok).map(|entry| entry.path());
    let found =
        names.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start)));
    found.with_context(|| format!("{} holds no {start}*", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::{Choice, LINES, fetched_before, newest, parts, pick};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_line_or_a_path_can_be_asked_for() {
        assert_eq!("6.1".parse(), Ok(Choice::Line("6.1")));
        assert_eq!("/boot/vmlinuz".parse(), Ok(Choice::File("/boot/vmlinuz".into())));
        assert_eq!("./bzImage".parse(), Ok(Choice::File("./bzImage".into())));
        let error = "6.2".parse::<Choice>().unwrap_err();
        assert!(error.contains("5.10, 6.1, 6.12, 7.2"), "{error}");
    }

    /// A line that is only here would be run, and nothing that it does would be compared with anything.
    #[test]
    fn every_line_is_expected_and_has_its_costs() {
        let text = |file: &str| {
            std::fs::read_to_string(format!("{}/../tests/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
        };
        let (expectations, costs) = (text("expectations.toml"), text("snapshots/verifier.json"));
        for (line, _) in LINES {
            assert!(expectations.contains(&format!("[\"{line}\"]")), "{line} in tests/expectations.toml");
            assert!(
                costs.contains(&format!("\"Linux {line}, rustc ")),
                "{line} in tests/snapshots/verifier.json"
            );
        }
    }

    #[test]
    fn the_newest_is_found_by_number() {
        let offered = names(&[
            "linux-image-6.12.107+deb13-cloud-amd64",
            "linux-image-6.12.94+deb13-cloud-amd64",
            "linux-image-6.12.107+deb13-cloud-amd64-unsigned",
            "linux-image-6.12.200+deb13-cloud-amd64-dbg",
        ]);
        assert_eq!(newest("6.12", &offered).as_deref(), Some("linux-image-6.12.107+deb13-cloud-amd64"));
        let by_abi =
            names(&["linux-image-5.10.0-9-cloud-amd64", "linux-image-5.10.0-32-cloud-amd64-unsigned"]);
        assert_eq!(newest("5.10", &by_abi).as_deref(), Some("linux-image-5.10.0-32-cloud-amd64-unsigned"));
    }

    #[test]
    fn a_kernel_in_parts_is_found_whole() {
        assert_eq!(
            parts("linux-image-7.2.12+deb13-cloud-amd64"),
            ["linux-binary-7.2.12+deb13-cloud-amd64", "linux-modules-7.2.12+deb13-cloud-amd64"]
        );
    }

    #[test]
    fn without_a_package_and_without_a_network_one_line_says_so() {
        let error = pick("6.1", &["bookworm"], &[]).unwrap_err().to_string();
        assert!(error.contains("bookworm offers no package linux-image-6.1"), "{error}");
        assert_eq!(error.lines().count(), 1);
    }

    #[test]
    fn what_was_fetched_before_is_found_but_not_what_is_incomplete() {
        let cache = std::env::temp_dir().join(format!("kchaos-kernels-{}", std::process::id()));
        for name in ["linux-image-6.1.0-5-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64.new"] {
            std::fs::create_dir_all(cache.join("kernels").join(name)).unwrap();
        }
        let found = newest("6.1", &fetched_before(&cache));
        std::fs::remove_dir_all(&cache).unwrap();
        assert_eq!(found.as_deref(), Some("linux-image-6.1.0-5-cloud-amd64"));
        assert!(fetched_before("/no/such/folder".as_ref()).is_empty());
    }

    #[test]
    fn another_line_is_not_taken() {
        let offered = names(&["linux-image-6.12.94+deb13-cloud-amd64", "linux-image-cloud-amd64"]);
        assert_eq!(newest("6.1", &offered), None);
        assert_eq!(newest("6.1", &[]), None);
    }
}
