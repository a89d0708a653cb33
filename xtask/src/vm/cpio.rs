//! The archive that a kernel unpacks into its first root file system: cpio in its "newc" form.
//!
//! Written here because it is small, and because device nodes can then be made without being root.

/// Ends every archive.
const TRAILER: &str = "TRAILER!!!";

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive that is being written. Folders come into being with what is put into them.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    names: Vec<String>,
}

/// What an entry's header says beside its name and size.
struct Head {
    mode: u32,
    links: u32,
    /// Major and minor number of a device node.
    device: (u32, u32),
}

impl Archive {
    /// Adds a folder and those above it.
    pub fn folder(&mut self, path: &str) {
        let path = path.trim_matches('/');
        if path.is_empty() || self.contains(path) {
            return;
        }
        self.parent(path);
        self.entry(path, &Head { mode: FOLDER, links: 2, device: (0, 0) }, &[]);
    }

    /// Adds a file, which may be executed. The first one of a name stays.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        let path = path.trim_matches('/');
        if !self.contains(path) {
            self.parent(path);
            self.entry(path, &Head { mode: PROGRAM, links: 1, device: (0, 0) }, content);
        }
    }

    /// Adds a character device.
    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        let path = path.trim_matches('/');
        self.parent(path);
        self.entry(path, &Head { mode: CHARACTER_DEVICE, links: 1, device: (major, minor) }, &[]);
    }

    /// Whether something of this name is in it.
    pub fn contains(&self, path: &str) -> bool {
        let path = path.trim_matches('/');
        self.names.iter().any(|name| name == path)
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, &Head { mode: 0, links: 1, device: (0, 0) }, &[]);
        self.bytes
    }

    fn parent(&mut self, path: &str) {
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder);
        }
    }

    fn entry(&mut self, name: &str, head: &Head, content: &[u8]) {
        self.names.push(name.to_owned());
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        // More than 4 GiB in one file would not boot in any guest of ours.
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        let (major, minor) = head.device;
        self.bytes.extend(b"070701");
        // inode, mode, owner, group, links, time, size, device, the node's device, name's size, checksum
        for field in [number, head.mode, 0, 0, head.links, 0, size, 0, 0, major, minor, name_size, 0] {
            self.bytes.extend(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    /// Names and contents end at a multiple of four.
    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    /// Name, mode and content of every entry, read back by the rules of the format.
    fn entries(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < archive.len() {
            assert_eq!(&archive[at..at + 6], b"070701", "at {at}");
            let field = |index: usize| {
                let start = at + 6 + 8 * index;
                u32::from_str_radix(std::str::from_utf8(&archive[start..start + 8]).unwrap(), 16).unwrap()
            };
            let (size, name_size) = (field(6) as usize, field(11) as usize);
            let name = &archive[at + 110..at + 110 + name_size - 1];
            let content = (at + 110 + name_size).next_multiple_of(4);
            found.push((
                String::from_utf8(name.to_vec()).unwrap(),
                field(1),
                archive[content..content + size].to_vec(),
            ));
            at = (content + size).next_multiple_of(4);
        }
        found
    }

    #[test]
    fn an_empty_archive_is_its_trailer() {
        let bytes = Archive::default().finish();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(entries(&bytes), [("TRAILER!!!".to_owned(), 0, vec![])]);
    }

    #[test]
    fn folders_come_before_what_is_in_them_and_only_once() {
        let mut archive = Archive::default();
        archive.file("/lib/modules/a.ko", b"12345");
        archive.file("lib/modules/b.ko", b"");
        archive.folder("/lib/");
        let names: Vec<_> = entries(&archive.finish()).into_iter().map(|entry| entry.0).collect();
        assert_eq!(names, ["lib", "lib/modules", "lib/modules/a.ko", "lib/modules/b.ko", "TRAILER!!!"]);
    }

    #[test]
    fn contents_of_every_length_are_kept() {
        for length in 0..9 {
            let mut archive = Archive::default();
            archive.file("x", &vec![7; length]);
            let read = entries(&archive.finish());
            assert_eq!(read[0], ("x".to_owned(), 0o100_755, vec![7; length]));
        }
    }

    #[test]
    fn a_file_is_not_replaced_by_a_later_one() {
        let mut archive = Archive::default();
        archive.file("/bin/sh", b"first");
        archive.file("bin/sh", b"second");
        let read = entries(&archive.finish());
        assert_eq!(read.len(), 3);
        assert_eq!(read[1].2, b"first");
    }

    #[test]
    fn a_device_has_its_numbers() {
        let mut archive = Archive::default();
        archive.character_device("/dev/console", 5, 1);
        let bytes = archive.finish();
        assert_eq!(entries(&bytes)[1].1, 0o020_600);
        let head = &bytes[bytes.windows(11).position(|part| part == b"dev/console").unwrap() - 110..];
        assert_eq!(&head[6 + 8 * 9..6 + 8 * 11], b"0000000500000001");
    }
}
