//! Whether a binary is static: it must run on any distribution, whatever C library that one has.

use anyhow::{Context as _, Result, bail};
use object::{
    Endianness,
    elf::{FileHeader64, PT_INTERP},
    read::elf::{FileHeader as _, ProgramHeader as _},
};

/// Fails when the kernel would need a dynamic loader to start this 64-bit ELF file.
pub fn require_static(file: &[u8]) -> Result<()> {
    let header = FileHeader64::<Endianness>::parse(file).context("it is not a 64-bit ELF file")?;
    let endian = header.endian().context("its byte order is unknown")?;
    let segments = header.program_headers(endian, file).context("its program headers cannot be read")?;
    if segments.is_empty() {
        bail!("it has no program headers, so it is no executable");
    }
    for segment in segments {
        if segment.p_type(endian) == PT_INTERP {
            let loader = segment.interpreter(endian, file).ok().flatten().unwrap_or_default();
            bail!("it needs the loader {}", String::from_utf8_lossy(loader));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::require_static;

    /// A little-endian ELF file with one program header of the type `segment`, which holds `/ld.so`.
    fn elf(segment: u32) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(64, 0);
        file[32] = 64; // e_phoff
        file[52] = 64; // e_ehsize
        file[54] = 56; // e_phentsize
        file[56] = 1; // e_phnum
        file.extend(segment.to_le_bytes());
        file.resize(64 + 56, 0);
        file[64 + 8] = 120; // p_offset
        file[64 + 32] = 7; // p_filesz
        file.extend(b"/ld.so\0");
        file
    }

    #[test]
    fn a_file_without_a_loader_is_static() {
        require_static(&elf(1)).unwrap();
    }

    #[test]
    fn a_file_with_a_loader_is_not_and_the_loader_is_named() {
        let error = require_static(&elf(3)).unwrap_err();
        assert_eq!(error.to_string(), "it needs the loader /ld.so");
    }

    #[test]
    fn what_is_no_executable_is_refused() {
        assert!(require_static(b"#!/bin/sh\n").is_err());
        assert!(require_static(&[]).is_err());
        let mut without_segments = elf(1);
        without_segments[56] = 0;
        assert!(require_static(&without_segments).is_err());
    }

    #[test]
    fn the_running_test_is_dynamic() {
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(require_static(&this).is_err(), cfg!(not(target_feature = "crt-static")));
    }
}
