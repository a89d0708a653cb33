//! `io`: the target reads and writes slowly. What it does: `crate::resource::io`.

use std::{path::PathBuf, sync::Arc};

use toml::Spanned;

use super::{
    Fault, Field, Kind, Takes,
    resources::{Acting, field, refuse_packets},
};
use crate::{
    config::{
        Packets, Problem, Section,
        value::{Count, Size},
    },
    resource::{Act, io},
};

/// The kind.
pub struct Io;

impl Kind for Io {
    fn name(&self) -> &'static str {
        "io"
    }

    fn elsewhere(&self) -> &'static [&'static str] {
        &["disk", "io-throttle", "blkio", "slow-disk"]
    }

    fn about(&self) -> &'static str {
        "Let the target read from disks and write to them slowly"
    }

    fn fields(&self) -> &'static [Field] {
        const FIELDS: [Field; 4] = [
            field("read", "SIZE", "So much in a second: 1MiB"),
            field("write", "SIZE", "So much in a second: 1MiB"),
            field("iops", "NUMBER", "So many reads, and so many writes, in a second"),
            Field {
                name: "device",
                value: "PATH",
                help: "Only on this disk: /dev/sda (all there are)",
                takes: Takes::Several,
            },
        ];
        &FIELDS
    }

    fn acts(&self) -> bool {
        true
    }

    fn read(&self, section: &mut Section<'_>) -> Result<(Box<dyn Fault>, Packets), Problem> {
        refuse_packets(section, self.name())?;
        let mut limits = Vec::new();
        let mut words = Vec::new();
        for (field, limit) in [("read", "rbps"), ("write", "wbps")] {
            let Some(size) = section.get::<Size>(field)? else { continue };
            // Linux 5.10 to 6.12 take no 1 (`tg_set_limit` in block/blk-throttle.c).
            let Size(bytes @ 2..) = *size.get_ref() else {
                return Err(Problem::at(size.span(), format!("`{field}` must be 2 bytes or more"), "here")
                    .help("write a small number: \"4KiB\" a second; kind = \"call\" makes reads and writes fail"));
            };
            words.push(format!("{field} at {} a second", size.get_ref()));
            limits.push((limit, bytes));
        }
        if let Some(iops) = section.get::<Count>("iops")? {
            // The largest one is what the kernel writes as "max".
            if !(2..u32::MAX).contains(&iops.get_ref().0) {
                let message = format!("`iops` is out of range: {}", iops.get_ref());
                return Err(Problem::at(iops.span(), message, "here")
                    .help(format!("write 2 to {}: kernels take no single one", u32::MAX - 1)));
            }
            let iops = iops.into_inner();
            words.push(format!("{iops} operations a second each way"));
            limits.extend([("riops", u64::from(iops.0)), ("wiops", u64::from(iops.0))]);
        }
        let devices = section.list::<String>("device")?.unwrap_or_default();
        let place = devices.first().map_or(section.span(), Spanned::span);
        if limits.is_empty() {
            return Err(Problem::at(
                section.span(),
                "kind \"io\" without a limit does nothing",
                "no `read`, `write` or `iops`",
            )
            .help("write at least one: read = \"1MiB\", write = \"1MiB\" (in a second), iops = 100"));
        }
        let devices: Vec<PathBuf> = devices.into_iter().map(|device| device.into_inner().into()).collect();
        let act = Act::Hold(Arc::new(io::Io { limits, devices, place }));
        Ok((Box::new(Acting { kind: self.name(), words: words.join(", "), act }), Packets::default()))
    }

    fn demo(&self) -> (&'static str, &'static str) {
        (
            "read = \"64KiB\"\nwrite = \"64KiB\"",
            "the disks are slow for the service; it uses none, and nothing is to be seen",
        )
    }
}
