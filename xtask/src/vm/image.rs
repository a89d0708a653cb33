//! Kernel images: what can be known of one without booting it.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

/// The modules of a kernel whose path is given: those named, or else where a system keeps them.
pub fn modules(image: &Path, named: Option<&Path>) -> Result<Option<PathBuf>> {
    if let Some(folder) = named {
        if !folder.join("modules.dep").is_file() {
            bail!(
                "{} holds no modules.dep; name a folder such as /lib/modules/6.1.0-1-amd64",
                folder.display()
            );
        }
        return Ok(Some(folder.to_path_buf()));
    }
    let content = fs::read(image).with_context(|| format!("cannot read the kernel {}", image.display()))?;
    let installed = release(&content).map(|release| Path::new("/lib/modules").join(release));
    let found = installed.filter(|folder| folder.join("modules.dep").is_file());
    if found.is_none() {
        eprintln!(
            "vm       {}: no --modules given and none installed; only what is built in works",
            image.display()
        );
    }
    Ok(found)
}

/// The release that an image's header names.
fn release(image: &[u8]) -> Option<String> {
    let at = u16::from_le_bytes(*image.get(0x20e..)?.first_chunk()?);
    let text = image.get(usize::from(at) + 0x200..)?;
    let end = text.iter().position(|byte| !byte.is_ascii_graphic())?;
    String::from_utf8(text.get(..end)?.to_vec()).ok().filter(|release| !release.is_empty() && at != 0)
}

/// Fails for what a boot loader would not start either.
pub fn require(file: &Path) -> Result<()> {
    let mut head = [0; 0x206];
    fs::File::open(file)
        .with_context(|| format!("cannot open the kernel {}", file.display()))?
        .read_exact(&mut head)
        .with_context(|| format!("{} is too short to be a kernel", file.display()))?;
    if !is_bzimage(&head) {
        bail!(
            "{} is no bzImage, the form in which x86 kernels are booted; remove it, or name the vmlinuz",
            file.display()
        );
    }
    Ok(())
}

/// Where a boot loader looks: the boot sector's signature and the header behind it.
fn is_bzimage(head: &[u8]) -> bool {
    head.get(0x1fe..0x200) == Some(&[0x55, 0xaa]) && head.get(0x202..0x206) == Some(b"HdrS")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{is_bzimage, modules, release, require};

    #[test]
    fn what_is_no_kernel_is_refused() {
        let mut head = vec![0; 0x206];
        assert!(!is_bzimage(&head));
        head[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        head[0x202..0x206].copy_from_slice(b"HdrS");
        assert!(is_bzimage(&head));
        assert!(!is_bzimage(b"MZ"));
        let this = std::env::current_exe().unwrap();
        assert!(require(&this).unwrap_err().to_string().contains("no bzImage"));
        assert!(require("/no/such/file".as_ref()).unwrap_err().to_string().contains("cannot open"));
    }

    #[test]
    fn the_release_is_read_from_the_header() {
        let mut image = vec![0; 0x240];
        image[0x20e..0x210].copy_from_slice(&0x20_u16.to_le_bytes());
        image[0x220..0x22f].copy_from_slice(b"6.1.0-5-x (a@b)");
        assert_eq!(release(&image).as_deref(), Some("6.1.0-5-x"));
        image[0x20e..0x210].copy_from_slice(&0xffff_u16.to_le_bytes());
        assert_eq!(release(&image), None);
        assert_eq!(release(&[0; 0x400]), None);
        assert_eq!(release(b"MZ"), None);
    }

    #[test]
    fn a_folder_without_modules_is_refused() {
        let error = modules(Path::new("/boot/vmlinuz"), Some(Path::new("/proc"))).unwrap_err().to_string();
        assert!(error.starts_with("/proc holds no modules.dep"), "{error}");
        assert!(modules(Path::new("/no/such/file"), None).is_err());
    }
}
